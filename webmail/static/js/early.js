// Runs before the first paint: marks that scripts work and applies what this browser remembers,
// so that nothing flashes in the wrong colours or widths.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    for (const name of ["theme", "density", "reader", "rail"]) {
      const value = localStorage.getItem(`sealpost.${name}`);
      if (value && /^[a-z]+$/.test(value) && value !== "system") root.dataset[name] = value;
    }
    if (matchMedia("(max-width: 640px)").matches) delete root.dataset.rail;
    const width = Number(localStorage.getItem("sealpost.list"));
    if (width >= 280 && width <= 640) root.style.setProperty("--list", `${width}px`);
  } catch {
    // Storage may be forbidden; the defaults are fine.
  }
})();
