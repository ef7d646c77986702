// Before anything is painted: the palette that was chosen here, or else the system's.
"use strict";
(function () {
  const chosen = localStorage.getItem("windlass-theme");
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
