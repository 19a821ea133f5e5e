/** The tables of docs/configuration.md, from the schema. */
import { KEYS, type Key, optionsOf } from './keys.js';
import { PROFILE_NAMES, PROFILES } from './profiles.js';

const BEGIN = '<!-- keys: generated from src/config/schema.ts by `npm run docs` -->';
const END = '<!-- /keys -->';

/** The page with the text between its two markers replaced by the tables of the present schema. */
export function updateConfigurationPage(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error(`docs/configuration.md needs the lines ${BEGIN} and ${END}, in this order.`);
  }
  return `${page.slice(0, begin + BEGIN.length)}\n\n${keyTables()}\n${page.slice(end)}`;
}

function keyTables(): string {
  const sections = new Map<string, Key[]>();
  for (const key of KEYS.values()) {
    const section = key.path.includes('.') ? key.path.slice(0, key.path.indexOf('.')) : '';
    sections.set(section, [...(sections.get(section) ?? []), key]);
  }
  const tables = [...sections].map(([section, keys]) => table(section, keys));
  return [...tables, profileTable()].join('\n');
}

function profileTable(): string {
  const paths = new Set(Object.values(PROFILES).flatMap((values) => Object.keys(values)));
  const shown = (name: (typeof PROFILE_NAMES)[number], path: string) => {
    const value = (PROFILES[name] as Record<string, string | number>)[path];
    return value === undefined ? '' : `\`${value}\``;
  };
  const rows = [...paths].map((path) => {
    const key = KEYS.get(path);
    const cells = PROFILE_NAMES.map((name) =>
      name === 'default' && key ? `\`${key.print(key.initial)}\`` : shown(name, path),
    );
    return `| \`${path}\` | ${cells.join(' | ')} |`;
  });
  return [
    '### Profiles',
    '',
    'A file beats the profile, the profile beats the default. An empty cell is the default.',
    '',
    `| key | ${PROFILE_NAMES.map((name) => `\`${name}\``).join(' | ')} |`,
    `| --- |${' --- |'.repeat(PROFILE_NAMES.length)}`,
    ...rows,
    '',
  ].join('\n');
}

function table(section: string, keys: readonly Key[]): string {
  const rows = keys.map(
    (key) => `| \`${key.path}\` | \`${key.print(key.initial)}\` | ${escapeCell(describe(key))} |`,
  );
  const heading = section === '' ? 'Everything' : `\`${section}\``;
  return [
    `### ${heading}`,
    '',
    '| key | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** If the description does not explain every word that the key takes, all of them are listed after it. */
function describe({ path, description }: Key): string {
  const options = optionsOf(path);
  const isExplained = options.every((option) => description.includes(`\`${option}\``));
  if (options.length === 0 || isExplained) return description;
  return `${description} One of ${options.map((option) => `\`${option}\``).join(', ')}.`;
}
