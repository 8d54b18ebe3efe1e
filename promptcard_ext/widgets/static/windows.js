// Rows are asked for in windows, and those that were seen lately are remembered.

export const WINDOW = 100; // rows asked for at once

/** The windows that hold rows `first` up to `last`. */
export function windowsFor(first, last) {
  const found = [];
  for (let w = Math.floor(first / WINDOW); w * WINDOW < last; w++) found.push(w);
  return found;
}

/** A map that forgets what was not used for longest. */
export class Lru {
  constructor(size) {
    this.size = size;
    this.map = new Map();
  }
  get(key) {
    const value = this.map.get(key);
    if (value !== undefined) {
      this.map.delete(key);
      this.map.set(key, value);
    }
    return value;
  }
  set(key, value) {
    this.map.delete(key);
    this.map.set(key, value);
    if (this.map.size > this.size) this.map.delete(this.map.keys().next().value);
  }
}
