/** The `prompt` command is compared with this: a Node script that makes the same three calls, and no more. */
const [url, text] = process.argv.slice(2);
const call = async (method, path, body) => {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}`);
  return response.json();
};
const { id } = await call('POST', '/session', { title: 'bench' });
const { parts } = await call('POST', `/session/${id}/message`, { parts: [{ type: 'text', text }] });
await call('DELETE', `/session/${id}`);
console.log(parts.findLast(({ type }) => type === 'text').text);
