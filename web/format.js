// Owns how numbers are shown and read. Positions are Numbers (below 2^53), addresses and
// other 64-bit values BigInts or their texts "0x1f".

const grouped = new Intl.NumberFormat("en-US");

export function count(number) {
  return grouped.format(number);
}

/// "3 packets", "1 packet": of units that end in s.
export function amount(number, unit) {
  return `${count(number)} ${number === 1 ? unit.replace(/s$/, "") : unit}`;
}

/// 1,500,396,310 -> "1.5 G", with as many digits as `step`, the distance of two marks, needs.
export function short(number, step = 0) {
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of units) {
    if (Math.abs(number) < size) continue;
    const digits = step > 0 ? Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9)) : 1;
    if (digits > 3) break;
    return `${(number / size).toFixed(digits)} ${unit}`;
  }
  return grouped.format(number);
}

/// Bytes of a file or of memory.
export function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${count(bytes)} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}

/// The guest's time: 61330 ms -> "61.330 s".
export function seconds(ns) {
  return `${(ns / 1e9).toFixed(6)} s`;
}

export function hex(value, digits = 0) {
  return "0x" + BigInt(value).toString(16).padStart(digits, "0");
}

/// "0x1f" or "31" as a BigInt; null for what is no number.
export function number(text) {
  const plain = String(text).trim().replaceAll("_", "").replaceAll(",", "");
  if (!/^(0x[0-9a-fA-F]+|[0-9]+)$/.test(plain)) return null;
  return BigInt.asUintN(64, BigInt(plain));
}

/// Places may be typed as they are shown: "1,500" is "1500".
export function place(text) {
  const plain = String(text).trim();
  return /^[-+]?[0-9][0-9,_ ]*$/.test(plain) ? plain.replace(/[,_ ]/g, "") : plain;
}

/// Bytes of "00ff41".
export function bytes(text) {
  const all = new Uint8Array(text.length / 2);
  for (let n = 0; n < all.length; n++) all[n] = parseInt(text.substr(2 * n, 2), 16);
  return all;
}

/// `length` bytes at `at` as a number, the least one first.
export function little(all, at, length) {
  let value = 0n;
  for (let n = length - 1; n >= 0; n--) value = (value << 8n) | BigInt(all[at + n]);
  return value;
}

export function printable(byte) {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
}

/// Whether a 64-bit value can be an address at all: not small, and canonical.
export function addressLike(value) {
  const high = value >> 47n;
  return value >= 0x10000n && (high === 0n || high === 0x1ffffn);
}

/// Names of symbols far away say nothing: "" for those.
export function nearby(symbol) {
  const offset = /\+0x([0-9a-f]+)$/.exec(symbol ?? "");
  return offset && parseInt(offset[1], 16) > 0x10000 ? "" : symbol ?? "";
}

const exceptions = ["#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "#9", "#TS",
  "#NP", "#SS", "#GP", "#PF", "#15", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP"];

/// A vector as the manual calls it.
export function vector(number) {
  return number < 32 ? exceptions[number] ?? `#${number}` : `vector ${number}`;
}
