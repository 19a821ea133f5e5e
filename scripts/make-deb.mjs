/**
 * Makes a Debian package of the built command, after `npm run build`, and prints its path: `node scripts/make-deb.mjs
 * [--revision N] [FOLDER]`. The command is one bundle, so the package needs nothing but Node, and is for every
 * architecture.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const { name, version, description, license, engines, files } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
);
const { values, positionals } = parseArgs({
  options: { revision: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const into = resolve(positionals[0] ?? root);
const debVersion = `${version}-${values.revision}`;
/** What npm's package holds, in the same places: the documents name their files the same way. */
const LIB = `usr/lib/${name}`;

if (!existsSync(join(root, 'dist/cli.js'))) {
  console.error('dist/cli.js is not there: npm run build');
  process.exit(1);
}
const tree = mkdtempSync(join(tmpdir(), 'deb-'));
try {
  fill(tree);
  mkdirSync(into, { recursive: true });
  const file = join(into, `${name}_${debVersion}_all.deb`);
  const args = ['--root-owner-group', '-Zxz', '--build', tree, file];
  const { status, stderr, error } = spawnSync('dpkg-deb', args, { encoding: 'utf8' });
  if (status !== 0) {
    console.error(`dpkg-deb: ${error?.message ?? stderr}`);
    process.exitCode = 1;
  } else console.log(file);
} finally {
  rmSync(tree, { recursive: true });
}

function fill(tree) {
  const put = (from, to) => {
    mkdirSync(dirname(join(tree, to)), { recursive: true });
    cpSync(join(root, from), join(tree, to), {
      recursive: true,
      filter: (path) => !/\.(map|d\.ts|png)$/.test(path),
    });
  };
  put('package.json', `${LIB}/package.json`);
  for (const entry of files.filter((each) => !each.startsWith('!'))) put(entry, `${LIB}/${entry}`);
  // The library is for npm: it needs packages that are not included here.
  rmSync(join(tree, LIB, 'dist/index.js'), { force: true });
  removeEmpty(join(tree, LIB));
  put('LICENSE', `usr/share/doc/${name}/copyright`);
  // Where people look first. A link in a page leads on in both places.
  for (const entry of ['README.md', 'CHANGELOG.md', 'SECURITY.md', 'docs']) {
    symlinkSync(`../../../lib/${name}/${entry}`, join(tree, 'usr/share/doc', name, entry));
  }
  for (const unit of [`${name}.service`, `${name}@.service`]) {
    put(`systemd/${unit}`, `usr/lib/systemd/system/${unit}`);
  }
  mkdirSync(join(tree, 'usr/bin'), { recursive: true });
  symlinkSync(`../lib/${name}/dist/cli.js`, join(tree, 'usr/bin', name));
  put('scripts/deb/config.yaml', `etc/${name}/config.yaml`);
  for (const file of ['postinst', 'prerm', 'postrm', 'conffiles']) {
    put(`scripts/deb/${file}`, `DEBIAN/${file}`);
  }
  writeFileSync(join(tree, 'DEBIAN/control'), control());
  openToAll(tree);
}

/**
 * deb-control(5). No maintainer is invented: whoever builds the package for others names one in DEBFULLNAME and
 * DEBEMAIL.
 */
function control() {
  const maintainer = process.env.DEBFULLNAME
    ? `${process.env.DEBFULLNAME} <${process.env.DEBEMAIL ?? 'root@localhost'}>`
    : `${name} <root@localhost>`;
  const node = engines.node.replace(/^>=\s*/, '');
  return `Package: ${name}
Version: ${debVersion}
Architecture: all
Maintainer: ${maintainer}
Section: admin
Priority: optional
Depends: nodejs (>= ${node}), passwd
Recommends: systemd (>= 247)
Description: ${description.split(':')[0]}
 ${description.split(':')[1].trim()}
 .
 opencode itself is not in it. License: ${license}.
`;
}

/** Gives back the permissions that the builder's umask took away. */
function openToAll(path) {
  const stat = statSync(path);
  chmodSync(path, stat.isDirectory() || stat.mode & 0o100 ? 0o755 : 0o644);
  if (!stat.isDirectory()) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (!entry.isSymbolicLink()) openToAll(join(path, entry.name));
  }
}

/** Removes folders that held only types or pictures. */
function removeEmpty(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmpty(join(folder, entry.name));
  }
  if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
}
