// A preview whose bytes are no picture gives way to the name beside it.

document.addEventListener("error", (event) => {
  if (event.target.matches?.(".attachment img")) event.target.remove();
}, true);
