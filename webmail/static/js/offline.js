// Says when there is no connection.

const bar = document.querySelector("[data-offline]");
if (bar) {
  const tell = () => (bar.hidden = navigator.onLine);
  addEventListener("online", tell);
  addEventListener("offline", tell);
  tell();
}
