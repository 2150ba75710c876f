// A heap of nodes by their distance, the nearest first.

export class NearestFirst {
  constructor() {
    this.nodes = [];
    this.distances = [];
  }

  get size() {
    return this.nodes.length;
  }

  push(node, distance) {
    const { nodes, distances } = this;
    let k = nodes.length;
    nodes.push(node);
    distances.push(distance);
    while (k > 0) {
      const parent = (k - 1) >> 1;
      if (distances[parent] <= distance) break;
      nodes[k] = nodes[parent];
      distances[k] = distances[parent];
      k = parent;
    }
    nodes[k] = node;
    distances[k] = distance;
  }

  /** The nearest node and its distance. */
  pop() {
    const { nodes, distances } = this;
    const found = [nodes[0], distances[0]];
    const node = nodes.pop();
    const distance = distances.pop();
    const count = nodes.length;
    let k = 0;
    while (count > 0) {
      let child = 2 * k + 1;
      if (child >= count) break;
      if (child + 1 < count && distances[child + 1] < distances[child]) child++;
      if (distances[child] >= distance) break;
      nodes[k] = nodes[child];
      distances[k] = distances[child];
      k = child;
    }
    if (count > 0) {
      nodes[k] = node;
      distances[k] = distance;
    }
    return found;
  }
}
