// What a circuit's graph shows and what a key on it means: numbers and words in, numbers and words
// out. Nothing here touches the document.

// The slider is logarithmic: from 1 edge at 0 to all of them at 1.
const sizeAt = (share, most) => Math.max(1, Math.min(most, Math.round(most ** share)));
const shareAt = (size, most) => (most > 1 ? Math.log(size) / Math.log(most) : 1);

// Three digits that mean something: scores are logits, or probabilities far below one.
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(Number(value.toPrecision(3)))}`;

// The layout of a circuit of so many edges, and which of its edges are in it, by their rank: below
// the size that was asked for they go, and all others keep their places.
function keptOf(d, size) {
  const layout = size <= d.size ? d.near : d.wide;
  return { layout, ranks: layout.ranks.filter((rank) => rank < size) };
}

// What is said where not all edges that are kept are drawn.
const drawnOf = (ranks, size) => (ranks.length < size ? `drawn: ${ranks.length}` : "");

// A node's label where there is little room: `H1` for `head 1`, `M2` for `MLP 2`.
const shortLabel = (label) => {
  const [kind, number] = label.split(" ");
  return number ? kind[0].toUpperCase() + number : kind.slice(0, 3);
};

// Which of these edges a node or an edge stands for.
const edgesOf = (d, ranks, id) => ranks.filter((rank) => {
  const edge = d.edges[rank];
  return edge.id === id || edge.sender === id || edge.target === id;
});

// The nodes that edges join.
const nodesOf = (d, ranks) => new Set(ranks.flatMap((rank) => [d.edges[rank].sender, d.edges[rank].target]));

// A line through these points that is upright at each of them.
function pathOf([[x, y], ...rest]) {
  let path = `M${x} ${y}`;
  for (const [toX, toY] of rest) {
    const middle = (y + toY) / 2;
    path += `C${x} ${middle} ${toX} ${middle} ${toX} ${toY}`;
    [x, y] = [toX, toY];
  }
  return path;
}

const widthOf = (score, limit) => 1.3 + 5 * Math.min(1, Math.abs(score) / (limit || 1));

const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

function edgeInWords(d, rank) {
  const { name, score, exact } = d.edges[rank];
  const measured = exact === null ? "" : `, measured ${signed(exact)}`;
  return `${name}: estimate ${signed(score)}${measured}`;
}

function nodeInWords(d, ranks, node) {
  const into = ranks.filter((rank) => d.edges[rank].target === node).length;
  const from = ranks.filter((rank) => d.edges[rank].sender === node).length;
  return `${d.names[node]}: ${counted(into, "edge")} in, ${from} out`;
}

// What is known of a node or an edge, in words; nothing where it is not in the graph.
function inWords(d, ranks, id) {
  const edge = ranks.find((rank) => d.edges[rank].id === id);
  if (edge !== undefined) return edgeInWords(d, edge);
  return nodesOf(d, ranks).has(id) ? nodeInWords(d, ranks, id) : "";
}

// The node that an arrow key leads to: the next one in the row, or the nearest in the next row that has one.
function nodeBeside(key, at, from) {
  const [x, row] = at[from], others = Object.keys(at).filter((name) => name !== from);
  const up = { ArrowUp: 1, ArrowDown: -1 }[key], right = { ArrowRight: 1, ArrowLeft: -1 }[key];
  const far = (name) => (up ? up * (at[name][1] - row) : right * (at[name][0] - x));
  const ahead = others.filter((name) => far(name) > 0 && (up || at[name][1] === row));
  if (ahead.length === 0) return from;
  const least = Math.min(...ahead.map(far));
  const nearest = ahead.filter((name) => far(name) === least);
  return nearest.sort((one, other) => Math.abs(at[one][0] - x) - Math.abs(at[other][0] - x))[0];
}
