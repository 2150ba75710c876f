"""What checks annotations while tests run: beartype, to which a whole number is a real one, as to mypy."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
