/** Keys: `/` searches, `?` lists the keys, Escape leaves. */

const search = document.getElementById('search');
const help = document.getElementById('keys');

document.getElementById('keys-close').addEventListener('click', () => help.close());
document.getElementById('keys-open').addEventListener('click', () => help.showModal());
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === search) {
    if (event.key !== 'Escape') return;
    if (search.value !== '') {
      search.value = '';
      search.dispatchEvent(new Event('input'));
    }
    search.blur();
    return;
  }
  if (event.target.closest('input, select, textarea, dialog') !== null) return;
  if (event.key === '/') {
    event.preventDefault();
    search.focus();
  } else if (event.key === '?') {
    event.preventDefault();
    help.showModal();
  }
});
