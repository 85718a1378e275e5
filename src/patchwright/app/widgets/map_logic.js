// What a heat map shows and what a key or a click on it means: numbers and words in, numbers and
// words out. Nothing here touches the document.

const BLUE = [33, 102, 172], RED = [178, 24, 43];
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

const css = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;

const mix = (a, b, share) => a.map((c, i) => Math.round(c + (b[i] - c) * share));

// Relative luminance, from 0 (black) to 1 (white), as contrast is defined (WCAG 2).
function luminance(c) {
  const [r, g, b] = c.map((one) => {
    const share = one / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// The ink that is easier to read on a colour.
const inkOn = (c) => (1.05 / (luminance(c) + 0.05) > (luminance(c) + 0.05) / 0.05 ? "#fff" : "#000");

// Where a value stands on its scale: -1 to 1 around 0, or 0 to 1 from the lowest to the highest.
function shareOf(value, d) {
  if (d.centred) return Math.max(-1, Math.min(1, value / d.limit));
  return Math.max(0, Math.min(1, (value - d.low) / (d.high - d.low || 1)));
}

// The colour of a value. The middle of a centred scale is the neutral colour of the theme.
function paint(value, d, neutral) {
  const share = shareOf(value, d);
  if (d.centred) return mix(neutral, share < 0 ? BLUE : RED, Math.abs(share));
  const at = share * 4, first = Math.min(3, Math.floor(at));
  return mix(VIRIDIS[first], VIRIDIS[first + 1], at - first);
}

// Two digits (from 10 on one), and no minus sign before nothing.
const short = (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace(/^-(0\.0+)$/, "$1");

// Of a centred scale, what is nearer to 0 than this share of its end is not told from nothing.
const isSmall = (value, d, threshold) => d.centred && Math.abs(value) < threshold * d.limit;

// From where to where the scale goes.
const ends = (d) => (d.centred ? [-d.limit, d.limit] : [d.low, d.high]);

// How many values fall into each of so many equal parts of the scale; what is outside is at its end.
function spreadOver(rows, d, parts) {
  const counts = new Array(parts).fill(0), [low, high] = ends(d);
  for (const value of rows.flat()) {
    if (value === null) continue;
    const at = Math.floor(((value - low) / (high - low || 1)) * parts);
    counts[Math.max(0, Math.min(parts - 1, at))] += 1;
  }
  return counts;
}

// What stands in a cell of this size.
function textOf(value, d, row, column, threshold, width, height) {
  const place = d.places[row][column];
  if (d.nothing[place] !== undefined) return width >= 12 && height >= 12 ? "–" : "";
  if (value === null || height < 15) return "";
  if (d.texts !== null) return width >= 22 ? d.texts[row][column] : "";
  return width < 29 || isSmall(value, d, threshold) ? "" : short(value);
}

// Where in a cell of this width its interval lies, as [from, wide] in pixels: the cell's width is the scale.
function whisker([low, high], d, width) {
  const [from, to] = [low, high].map((one) => (shareOf(one, d) + 1) / 2 * (width - 3));
  return [from, Math.max(3, to - from)];
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

// The cell in words: as it stands there for screen readers, with more digits for the tip.
function spoken(d, row, column, digits) {
  const value = d.values[row][column], place = d.places[row][column];
  const guess = d.estimated !== null && d.estimated[row][column] ? " (estimate)" : "";
  const unsure = d.unsure !== null && d.unsure[row][column] ? " (not distinguishable from zero)" : "";
  const word = d.texts === null || value === null ? "" : `top token ${d.texts[row][column]}, `;
  const right = d.marked.includes(place) ? ", right" : "";
  const own = d.marked.length && place === d.selected ? ", your prediction" : "";
  const around = d.spreads === null || value === null ? "" : ` ± ${short(d.spreads[row][column])}`;
  const bounds = d.bounds?.[row][column];
  const from = bounds && value !== null ? `, interval ${bounds.map(short).join(" to ")}` : "";
  const token = d.placed ? ` ${d.columns[column]}` : "";
  const shown = value === null
    ? (d.asked && !d.asked.includes(place) ? "not asked for" : d.nothing[place] ?? d.empty)
    : `${word}${d.unit} ${digits ? value.toFixed(digits).replace(/^-(0\.0+)$/, "$1") : short(value)}${around}${from}${guess}${unsure}`;
  return `${place}${token}: ${shown}${own}${right}`;
}

// The likeliest next tokens of a cell's run, in a line; nothing where they are not known.
function likeliest(d, row, column) {
  if (d.tops === null || d.values[row][column] === null) return "";
  return d.tops[row][column].map(([token, share]) => `${token} ${percent(share)}`).join("   ");
}

const MOVES = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// Where a key leads from [row, column]; null where it leads nowhere. Rows count from below, so that
// with Ctrl Home is the first layer and token, End the last ones.
function moved({ key, ctrlKey }, [row, column], rows, columns) {
  if (key === "Home") return [ctrlKey ? 0 : row, 0];
  if (key === "End") return [ctrlKey ? rows - 1 : row, columns - 1];
  if (!(key in MOVES)) return null;
  const [up, right] = MOVES[key];
  const within = (at, size) => Math.max(0, Math.min(size - 1, at));
  return [within(row + up, rows), within(column + right, columns)];
}

// What a click or a key on a cell asks for: "place" selects it, "add" puts it into the set.
function meaning({ key, shiftKey }) {
  if (key !== undefined && key !== "Enter" && key !== " ") return null;
  return shiftKey ? "add" : "place";
}

// How high a row is in so much room, but at most `most`; a square map of narrow cells stays square.
function heightOf(rows, columns, width, room, most = 30) {
  const fits = Math.max(5, Math.floor(room / rows));
  return Math.min(most, fits, rows === columns ? Math.max(6, width) : most);
}

// Pixels that the rows of a map may take of a window: what stands above and below it is to be seen too.
const roomIn = (tall, room) => Math.min(room, Math.max(180, tall - 540));

// Every how many rows have a label: a map of heads names a layer where it begins.
const everyRow = (height) => Math.max(1, Math.ceil(13 / height));
