// Where the rows of a long table go: of all of them only those around what is seen are drawn.

export const ROW = 28; // px, as in run_view.css and compare_view.css
const OVERSCAN = 8; // rows drawn above and below what is seen
const MAX_PX = 8_000_000; // browsers cannot draw boxes much higher than that

/** Which rows to draw (`first` up to, not including, `last`) and where the first one goes, in px. */
export function place(scrollTop, viewport, total) {
  const real = total * ROW;
  const drawn = Math.min(real, MAX_PX);
  // Very long tables are squeezed: one pixel of the scroll bar is then more than one pixel of table.
  const top = real > drawn ? (scrollTop / Math.max(1, drawn - viewport)) * (real - viewport) : scrollTop;
  const first = Math.max(0, Math.min(total, Math.floor(top / ROW)) - OVERSCAN);
  const last = Math.min(total, Math.ceil((top + viewport) / ROW) + OVERSCAN);
  return { first, last, offset: scrollTop - (top - first * ROW), height: drawn };
}

/** Where to scroll so that row `index` is seen, moving no further than needed. */
export function scrollFor(index, scrollTop, viewport, total) {
  const real = total * ROW;
  const drawn = Math.min(real, MAX_PX);
  const scale = real > drawn ? (real - viewport) / Math.max(1, drawn - viewport) : 1;
  const top = scrollTop * scale;
  if (index * ROW < top) return (index * ROW) / scale;
  if ((index + 1) * ROW > top + viewport) return ((index + 1) * ROW - viewport) / scale;
  return scrollTop;
}
