// Owns light and dark: as the system has it, unless the person said otherwise for this tab.

const kKey = "chronovisor.theme";

export class Theme extends EventTarget {
  #button;
  #media = matchMedia("(prefers-color-scheme: dark)");

  constructor(button) {
    super();
    this.#button = button;
    button.addEventListener("click", () => this.toggle());
    this.#media.addEventListener("change", () => this.#apply());
    this.#apply();
  }
  get dark() {
    const chosen = sessionStorage.getItem(kKey);
    return chosen ? chosen === "dark" : this.#media.matches;
  }
  toggle() {
    sessionStorage.setItem(kKey, this.dark ? "light" : "dark");
    this.#apply();
  }
  #apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.#button.textContent = this.dark ? "Light" : "Dark";
    this.#button.setAttribute("aria-label", this.dark ? "Use light colours" : "Use dark colours");
    this.dispatchEvent(new Event("changed"));
  }
}
