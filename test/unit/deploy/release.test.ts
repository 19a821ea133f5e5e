/** The release workflow, as far as it can be checked without running it: its shape, its rights, and what it builds on. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import * as z from 'zod';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = readFileSync(`${root}.github/workflows/release.yml`, 'utf8');

/** The fields that we use of https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax */
const step = z.union([
  z.strictObject({
    uses: z.string(),
    with: z.record(z.string(), z.union([z.string(), z.boolean()])).optional(),
  }),
  z.strictObject({
    name: z.string().optional(),
    id: z.string().optional(),
    env: z.record(z.string(), z.string()).optional(),
    run: z.string(),
  }),
]);
const workflowSchema = z.strictObject({
  name: z.string(),
  on: z.strictObject({ push: z.strictObject({ tags: z.array(z.string()) }) }),
  permissions: z.strictObject({}),
  concurrency: z.strictObject({ group: z.string(), 'cancel-in-progress': z.boolean() }),
  jobs: z.record(
    z.string(),
    z.strictObject({
      needs: z.string().optional(),
      'runs-on': z.string(),
      'timeout-minutes': z.number(),
      environment: z.string().optional(),
      permissions: z.partialRecord(
        z.enum(['contents', 'id-token', 'packages']),
        z.enum(['read', 'write']),
      ),
      strategy: z.unknown().optional(),
      steps: z.array(step),
    }),
  ),
});

describe('.github/workflows/release.yml', () => {
  const document = parseDocument(text, { uniqueKeys: true });
  expect(document.errors).toEqual([]);
  const workflow = workflowSchema.parse(document.toJS());
  const { jobs } = workflow;
  const commands = Object.values(jobs).flatMap(({ steps }) =>
    steps.flatMap((each) => ('run' in each ? [each.run] : [])),
  );

  it('publishes nothing that was not tested', () => {
    for (const [name, { needs }] of Object.entries(jobs)) {
      expect(needs).toBe(name === 'test' ? undefined : 'test');
    }
  });

  it('gives each job only the rights that it needs', () => {
    expect(jobs.test?.permissions).toEqual({ contents: 'read' });
    expect(jobs.package?.permissions).toEqual({ contents: 'read', 'id-token': 'write' });
    expect(jobs.image?.permissions).toEqual({ contents: 'read', packages: 'write' });
  });

  it('publishes with provenance, and the image with provenance and an SBOM for two architectures', () => {
    expect(commands).toContain('npm publish --provenance --access public');
    const build = jobs.image?.steps.find((each) => 'uses' in each && /build-push/.test(each.uses));
    expect(build).toMatchObject({
      with: { provenance: 'mode=max', sbom: true, platforms: 'linux/amd64,linux/arm64' },
    });
  });

  it('puts no text of the event into a shell script', () => {
    // https://docs.github.com/actions/concepts/security/script-injections
    expect(commands.filter((command) => command.includes('${{'))).toEqual([]);
  });

  it('runs scripts of package.json, and files, that are there', () => {
    const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = commands.flatMap((command) => [...command.matchAll(/npm run (\S+)/g)]);
    for (const [, script = ''] of named) expect(scripts).toHaveProperty(script);
    expect(existsSync(`${root}scripts/make-deb.mjs`)).toBe(true);
    expect(readFileSync(`${root}Dockerfile`, 'utf8')).toMatch(/^ARG NODE_IMAGE=\S+:\S+$/m);
    expect(readFileSync(`${root}Dockerfile`, 'utf8')).toMatch(/^ARG VERSION=/m);
  });
});
