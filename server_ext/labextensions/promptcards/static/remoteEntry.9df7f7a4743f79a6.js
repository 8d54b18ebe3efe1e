// What JupyterLab loads first: a container of the "module federation" that its prebuilt extensions are made of. Usually
// a bundler writes one. All that JupyterLab asks of it is `init`, with the modules that are shared, and `get`, which
// gives the extension; so this is written by hand, and everything else is left as it is: modules that browsers load.
(() => {
  const here = document.currentScript.src;
  let shared = {};

  /** A module of the front end; of several versions the one that is in use, else the newest. */
  async function ours(name) {
    const known = Object.entries(shared[name] ?? {}).sort(([one], [other]) => other.localeCompare(one, "en", { numeric: true }));
    const entry = (known.find(([, one]) => one.loaded) ?? known[0])?.[1];
    return entry && (entry.lib ?? (await entry.get()))();
  }

  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB.promptcards = {
    init(given) {
      shared = given;
    },
    async get() {
      const style = document.createElement("link");
      style.rel = "stylesheet";
      style.href = new URL("739f5afa03334e12/panel.css", here).href;
      document.head.append(style);
      const { NEEDED, plugins } = await import(new URL("739f5afa03334e12/plugin.js", here).href);
      const modules = await Promise.all(NEEDED.map(async (name) => [name, await ours(name)]));
      const extension = { __esModule: true, default: plugins(Object.fromEntries(modules)) };
      return () => extension;
    },
  };
})();
