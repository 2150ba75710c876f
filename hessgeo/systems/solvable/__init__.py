"""Systems with exact answers: lattices, exclusion processes, families in closed form."""
