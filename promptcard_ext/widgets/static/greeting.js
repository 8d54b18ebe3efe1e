// The first question of a view. A front end opens a way to the kernel beside the running cell only when the view is
// there; what is sent before it is open waits until the cell has ended. So the first question is soon sent again, and a
// view asks for nothing else until it is answered.

const SOON_MS = 200; // doubled each time

/** Calls `greet` again and again until `answered()` is called, `signal` aborts, or it returns false. */
export class Greeting {
  constructor(greet, signal, soon = SOON_MS) {
    this.open = true;
    const insist = (wait) => {
      if (greet() === false) return;
      this.timer = setTimeout(() => insist(2 * wait), wait);
    };
    signal.addEventListener("abort", () => clearTimeout(this.timer));
    insist(soon);
  }

  answered() {
    this.open = false;
    clearTimeout(this.timer);
  }
}
