// What the server sends, as `message.py` packs it: the length of the JSON, the JSON, and the arrays
// that its maps name.

const KINDS = { float: Float32Array, flag: Uint8Array, index: Uint32Array };

const NO_TOKEN = 2 ** 32 - 1;

// An array as nested lists.
function nested(flat, [size, ...inner]) {
  if (inner.length === 0) return [...flat];
  const step = flat.length / size;
  return Array.from({ length: size }, (_, i) => nested(flat.subarray(i * step, (i + 1) * step), inner));
}

function unpacked(message) {
  const length = new DataView(message.buffer, message.byteOffset).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(message.subarray(4, 4 + length)));
  // A copy: an array of numbers must begin at a multiple of its size.
  const body = message.slice(4 + length).buffer;
  const read = (one) => one && nested(
    new KINDS[one.kind](body, one.at, one.shape.reduce((product, size) => product * size, 1)), one.shape);
  data.maps.forEach((map) => {
    map.values = read(map.values).map((row) => row.map((value) => (Number.isNaN(value) ? null : value)));
    map.estimated = read(map.estimated);
    map.unsure = read(map.unsure);
    if (!Array.isArray(map.places)) {
      const { starts, ends } = map.places;
      map.places = starts.map((start) => ends.map((end) => start + end));
    }
    if (map.tops) map.tops = tokens(map.tops.words, read(map.tops.ids), read(map.tops.shares));
  });
  return data;
}

// Of each cell the likeliest words with their probabilities.
function tokens(words, ids, shares) {
  return ids.map((row, i) => row.map((cell, j) => cell
    .map((id, k) => [words[id], shares[i][j][k]])
    .filter((_, k) => cell[k] !== NO_TOKEN)));
}
