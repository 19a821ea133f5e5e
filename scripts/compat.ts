/**
 * Tries the daemon on several versions of opencode: `npm run build && npx tsx scripts/compat.ts [VERSION...]`.
 *
 * Each version is installed if needed (`install-opencode.mjs`) and must show every pattern of
 * `test/long/compat-patterns.ts`. Prints a table in Markdown, and exits with 1 if anything was not as expected.
 * `current` is the version in node_modules.
 */
import { type Report, tryPatterns } from '../test/long/compat-patterns.js';
// @ts-expect-error: a script without types
import { installOpencode } from './install-opencode.mjs';

const VERSIONS = ['1.1.65', '1.2.27', '1.14.48', 'current'];

const wanted = process.argv.slice(2);
const reports: Report[] = [];
for (const version of wanted.length > 0 ? wanted : VERSIONS) {
  try {
    if (version === 'current') delete process.env.OPENCODE_TEST_BIN;
    else process.env.OPENCODE_TEST_BIN = await installOpencode(version);
    const report = await tryPatterns();
    // Version 1.0 does not tell its version.
    reports.push(version === 'current' ? report : { ...report, version });
  } catch (error) {
    console.error(`${version}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

const cells = (values: readonly string[]) => `| ${values.join(' | ')} |`;
console.log(cells(['pattern', 'expected', ...reports.map(({ version }) => version)]));
console.log(cells(['---', '---', ...reports.map(() => '---')]));
for (const { pattern, expected } of reports[0]?.rows ?? []) {
  const seen = reports.map(({ rows }) => rows.find((row) => row.pattern === pattern)?.seen ?? '');
  if (seen.some((each) => each !== expected)) process.exitCode = 1;
  console.log(
    cells([pattern, expected, ...seen.map((each) => (each === expected ? 'yes' : `**${each}**`))]),
  );
}
for (const { version, notices } of reports) {
  for (const notice of notices) console.log(`\n${version} warned: ${notice}`);
}
