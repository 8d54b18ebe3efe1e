// What JupyterLab and Notebook 7 get: a command, a tile of the launcher, and the side panel.

import { withImport } from "./listing.js";
import { Panel } from "./panel.js";
import { Server } from "./server.js";

/** Modules of the front end that are asked for; one that it does not have is undefined. */
export const NEEDED = [
  "@jupyterlab/application", "@jupyterlab/apputils", "@jupyterlab/coreutils", "@jupyterlab/launcher",
  "@jupyterlab/notebook", "@jupyterlab/services", "@jupyterlab/ui-components", "@lumino/widgets",
];
const OPEN = "promptcards:open";
const WELCOME = "prompt-cards/01_first_card.ipynb";

/** The plugins, given the modules by name. */
export function plugins(lab) {
  // Voilà loads what JupyterLab loads, and has no place for a panel.
  if (document.body?.dataset.voila) return [];
  const tokens = {
    launcher: lab["@jupyterlab/launcher"]?.ILauncher,
    notebooks: lab["@jupyterlab/notebook"]?.INotebookTracker,
    restorer: lab["@jupyterlab/application"]?.ILayoutRestorer,
    palette: lab["@jupyterlab/apputils"]?.ICommandPalette,
  };
  const names = Object.keys(tokens).filter((name) => tokens[name]);
  return [{
    id: "promptcards:panel",
    description: "Lists cards and runs of Prompt Cards, and puts them into notebooks.",
    autoStart: true,
    optional: names.map((name) => tokens[name]),
    activate: (app, ...given) => activate(app, lab, Object.fromEntries(names.map((name, i) => [name, given[i]]))),
  }];
}

function activate(app, lab, { launcher, notebooks, restorer, palette }) {
  const { LabIcon } = lab["@jupyterlab/ui-components"];
  const icon = new LabIcon({ name: "promptcards:cards", svgstr: ICON });
  const host = new Host(app, lab, notebooks);
  const widget = panelWidget(lab, host);
  widget.title.icon = icon;
  widget.title.caption = "Prompt Cards";
  app.shell.add(widget, "left", { rank: 610, type: "Prompt Cards" });
  restorer?.add(widget, widget.id);
  app.commands.addCommand(OPEN, {
    label: "Prompt Cards",
    caption: "Open the panel of cards and runs, and the welcome notebook if it is there",
    icon,
    execute: async () => {
      app.shell.activateById(widget.id);
      await host.welcome(true);
    },
  });
  palette?.addItem({ command: OPEN, category: "Prompt Cards" });
  launcher?.add({ command: OPEN, category: "Prompt Cards", rank: 0 });
}

function panelWidget(lab, host) {
  const { ServerConnection } = lab["@jupyterlab/services"];
  const panel = new Panel(new Server(ServerConnection, lab["@jupyterlab/coreutils"].URLExt.join), host);
  const { Widget } = lab["@lumino/widgets"];
  const widget = new (class extends Widget {
    onAfterShow() {
      panel.show();
    }
    onAfterAttach() {
      if (this.isVisible) panel.show();
    }
    onBeforeHide() {
      panel.hide();
    }
    onBeforeDetach() {
      panel.hide();
    }
    onActivateRequest() {
      panel.search.focus();
    }
  })({ node: panel.el });
  widget.id = "promptcards-panel";
  // A page in the background asks for nothing either: browsers have few connections to a server, for all its pages.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) panel.hide();
    else if (widget.isVisible) panel.show();
  });
  return widget;
}

class Host {
  constructor(app, lab, notebooks) {
    Object.assign(this, { app, lab, notebooks });
    this.memory = window.localStorage;
  }

  /** Open the welcome notebook; quietly do nothing when it is not there. */
  async welcome(quiet = false) {
    try {
      await this.app.serviceManager.contents.get(WELCOME, { content: false });
    } catch {
      if (!quiet) this.tell(`There is no ${WELCOME} here.`);
      return;
    }
    await this.app.commands.execute("docmanager:open", { path: WELCOME });
  }

  /** Put code into the notebook that was used last: into its active cell when that is empty, else below it. */
  async insert(code, name) {
    const notebook = this.notebooks?.currentWidget?.content;
    if (!notebook) {
      const copied = await navigator.clipboard?.writeText(code).then(() => true, () => false);
      this.tell(copied ? `No notebook is open: ${code} is on the clipboard.` : "No notebook is open.");
      return;
    }
    const sources = [...notebook.model.cells].map((cell) => cell.sharedModel.getSource());
    const { NotebookActions } = this.lab["@jupyterlab/notebook"];
    const active = notebook.activeCell;
    if (!active || active.model.type !== "code" || active.model.sharedModel.getSource().trim()) {
      NotebookActions.insertBelow(notebook);
    }
    notebook.activeCell.model.sharedModel.setSource(withImport(code, sources));
    notebook.mode = "edit";
    notebook.activate();
    this.tell(`${name} is in the notebook.`, 2000);
  }

  tell(text, autoClose = 5000) {
    this.lab["@jupyterlab/apputils"]?.Notification?.info(text, { autoClose });
  }
}

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <g class="jp-icon3" fill="#616161">
    <path d="M7 2h11a2 2 0 0 1 2 2v11h-2V4H7z"/>
    <path fill-rule="evenodd" d="M4 6h10a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2zm1 4v1.6h8V10zm0 3.4V15h8v-1.6zm0 3.4v1.6h5v-1.6z"/>
  </g>
</svg>`;
