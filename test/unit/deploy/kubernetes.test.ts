/** The Kustomize base and its component: every manifest fits its published schema, and what they promise is there. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { PersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim';
import { Service } from 'kubernetes-models/v1/Service';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { configSchema } from '../../../src/config/schema.js';

interface Model {
  validate(): void;
}
type Manifest = { apiVersion: string; kind: string; [key: string]: unknown };

/** The published schemas: of Kubernetes' OpenAPI document, and of the Prometheus operator's resource. */
const MODELS: Record<string, new (data: never) => Model> = {
  'v1 ConfigMap': ConfigMap,
  'v1 PersistentVolumeClaim': PersistentVolumeClaim,
  'v1 Service': Service,
  'apps/v1 Deployment': Deployment,
  'networking.k8s.io/v1 NetworkPolicy': NetworkPolicy,
  'monitoring.coreos.com/v1 PodMonitor': PodMonitor,
};

/** The fields that we use of https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/ */
const kustomizationSchema = z.strictObject({
  apiVersion: z.string().startsWith('kustomize.config.k8s.io/'),
  kind: z.enum(['Kustomization', 'Component']),
  resources: z.array(z.string()),
  labels: z.array(z.strictObject({ pairs: z.record(z.string(), z.string()) })).default([]),
  configMapGenerator: z
    .array(z.strictObject({ name: z.string(), files: z.array(z.string()) }))
    .default([]),
  images: z.array(z.strictObject({ name: z.string(), newTag: z.string() })).default([]),
});

const ROOT = fileURLToPath(new URL('../../../deploy/kubernetes/', import.meta.url));
const PARTS = ['base', 'pod-monitor'];
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const kustomizations = PARTS.map((part) => ({
  part,
  content: kustomizationSchema.parse(parse(read(`${part}/kustomization.yaml`))),
}));
const documents = (text: string) =>
  parseAllDocuments(text).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });
const manifests = kustomizations.flatMap(({ part, content }) =>
  content.resources.flatMap((file) => documents(read(`${part}/${file}`))),
);
const named = (manifest: Manifest) => `${manifest.apiVersion} ${manifest.kind}`;
const found = (kind: string) => manifests.find((each) => each.kind === kind) as never as Manifest;

interface Container {
  image: string;
  restartPolicy?: string;
  livenessProbe?: unknown;
  readinessProbe?: { httpGet: { path: string } };
  securityContext: Record<string, unknown>;
  ports: { name: string; containerPort: unknown }[];
}
interface Pod {
  shareProcessNamespace: boolean;
  enableServiceLinks: boolean;
  securityContext: Record<string, unknown>;
  initContainers: [Container];
  containers: [Container];
}
const podOf = (deployment: Manifest) =>
  (deployment as unknown as { spec: { template: { spec: Pod } } }).spec.template.spec;
const pod = podOf(found('Deployment'));

const NO_KUBECTL =
  spawnSync('kubectl', ['kustomize', '--help']).status === 0
    ? ''
    : ' (skipped: kubectl is not installed)';

function fits(manifest: Manifest): void {
  const Known = MODELS[named(manifest)];
  expect(Known, `no schema for ${named(manifest)}`).toBeDefined();
  new Known!(manifest as never).validate();
}

describe('deploy/kubernetes', () => {
  it.each(manifests.map((each) => [named(each), each] as const))('%s fits its schema', (_, each) =>
    fits(each),
  );

  it('is checked by schemas that refuse what is wrong', () => {
    const wrong = structuredClone(found('Deployment'));
    const [port] = podOf(wrong).initContainers[0].ports;
    if (port) port.containerPort = 'many';
    expect(() => new Deployment(wrong as never).validate()).toThrow();
  });

  it.each(kustomizations)('$part has no file that nothing names', ({ part, content }) => {
    const generated = content.configMapGenerator.flatMap(({ files }) => files);
    const named = ['kustomization.yaml', ...content.resources, ...generated];
    expect(readdirSync(join(ROOT, part)).sort()).toEqual(named.sort());
  });

  it('runs the version of this package, and gives each image its tag', () => {
    const [base] = kustomizations;
    const { version } = parse(readFileSync(join(ROOT, '../../package.json'), 'utf8')) as {
      version: string;
    };
    const tags = Object.fromEntries(
      (base?.content.images ?? []).map(({ name, newTag }) => [name, newTag]),
    );
    const images = [...pod.initContainers, ...pod.containers].map(({ image }) => image);
    expect(Object.keys(tags).sort()).toEqual(images.sort());
    expect(tags['opencode-watchdog']).toBe(version);
  });

  it('has a watchdog configuration that the daemon takes', () => {
    const config = configSchema.parse(parse(read('base/config.yaml')));
    expect(config.server.control).toBe('external');
    expect(config.status.listen).toBe('0.0.0.0:4097');
    expect(config.status.tokenFile).toBe('/run/secrets/opencode/status-token');
  });

  it('makes the watchdog a native sidecar in one process namespace, as one user', () => {
    expect(pod.shareProcessNamespace).toBe(true);
    expect(pod.securityContext.runAsUser).toBe(1000);
    const [watchdog] = pod.initContainers;
    expect(watchdog.restartPolicy).toBe('Always');
    expect(watchdog.securityContext.readOnlyRootFilesystem).toBe(true);
  });

  it('asks the watchdog for life where no flood of connections comes between', () => {
    expect(pod.initContainers[0].livenessProbe).toMatchObject({
      exec: { command: ['opencode-watchdog', 'healthcheck'] },
    });
  });

  it('keeps the variables of the namespace’s services out of both environments', () => {
    expect(pod.enableServiceLinks).toBe(false);
  });

  it('lets exactly one of the two restart the server', () => {
    expect(pod.containers[0].livenessProbe).toBeUndefined();
    expect(pod.containers[0].readinessProbe?.httpGet.path).toBe('/readyz');
  });

  it('lets in by name only: clients to opencode, Prometheus to the watchdog', () => {
    const { spec } = found('NetworkPolicy') as unknown as {
      spec: { policyTypes: string[]; ingress: { from: unknown[]; ports: { port: unknown }[] }[] };
    };
    expect(spec.policyTypes).toEqual(['Ingress']);
    for (const { from } of spec.ingress) expect(from).toHaveLength(1);
    const [opencode, watchdog] = [pod.containers[0].ports, pod.initContainers[0].ports];
    // The name of an init container's port would not be found by every network plugin (kubernetes#125285).
    expect(spec.ingress.map(({ ports }) => ports.map(({ port }) => port))).toEqual([
      [opencode[0]?.name],
      [watchdog[0]?.containerPort],
    ]);
  });
});

describe.skipIf(NO_KUBECTL !== '')(`what kubectl makes of it${NO_KUBECTL}`, () => {
  const build = (folder: string) => {
    const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', folder], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
    return documents(stdout);
  };

  it('fits the schemas, and the pod mounts the generated configuration by its hashed name', () => {
    const built = build(join(ROOT, 'base'));
    for (const each of built) fits(each);
    const map = built.find(({ kind }) => kind === 'ConfigMap') as { metadata?: { name: string } };
    expect(map.metadata?.name).toMatch(/^opencode-watchdog-\w{10}$/);
    expect(JSON.stringify(built.find(({ kind }) => kind === 'Deployment'))).toContain(
      `"configMap":{"name":"${map.metadata?.name}"}`,
    );
  });

  it('takes the overlay of docs/deploy.md', () => {
    const page = readFileSync(new URL('../../../docs/deploy.md', import.meta.url), 'utf8');
    const overlay = /^```yaml overlay\n(.*?)^```$/ms.exec(page)?.[1] ?? '';
    const folder = mkdtempSync(join(tmpdir(), 'overlay-'));
    try {
      writeFileSync(
        join(folder, 'kustomization.yaml'),
        // kubectl takes relative folders only.
        overlay.replaceAll(/[^\s[]*deploy\/kubernetes/g, relative(folder, ROOT)),
      );
      writeFileSync(join(folder, 'config.yaml'), 'retry: { maxAttempts: 5 }\n');
      const built = build(folder);
      for (const each of built) fits(each);
      expect(built.map(({ kind }) => kind)).toContain('PodMonitor');
      const deployment = JSON.stringify(built.find(({ kind }) => kind === 'Deployment'));
      expect(deployment).toContain('"image":"example.com/opencode-watchdog:0.2.0"');
      expect(JSON.stringify(built)).toContain('maxAttempts: 5');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
