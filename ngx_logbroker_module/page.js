// what both pages use

const $ = id => document.getElementById(id);
const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function el(tag, text, cls) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (cls) e.className = cls;
  return e;
}

function num(n) {
  if (n === null || n === undefined || !isFinite(n)) return "–";
  if (n !== 0 && Math.abs(n) < 10 && !Number.isInteger(n)) return n.toFixed(1);
  n = Math.round(n);
  if (Math.abs(n) < 10000) return String(n);
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(n) >= size) return (n / size).toFixed(n < 100 * size ? 1 : 0) + " " + unit;
}
