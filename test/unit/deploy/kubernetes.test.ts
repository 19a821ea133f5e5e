import { readFileSync } from 'node:fs';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { PersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim';
import { Service } from 'kubernetes-models/v1/Service';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
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
  'monitoring.coreos.com/v1 PodMonitor': PodMonitor,
};

const text = readFileSync(new URL('../../../deploy/kubernetes.yaml', import.meta.url), 'utf8');
const manifests = parseAllDocuments(text).map((document) => {
  expect(document.errors).toEqual([]);
  return document.toJS() as Manifest;
});
const named = (manifest: Manifest) => `${manifest.apiVersion} ${manifest.kind}`;
const found = (kind: string) => manifests.find((each) => each.kind === kind) as never as Manifest;

interface Container {
  restartPolicy?: string;
  livenessProbe?: unknown;
  readinessProbe?: { httpGet: { path: string } };
  securityContext: Record<string, unknown>;
  ports: { containerPort: unknown }[];
}
interface Pod {
  shareProcessNamespace: boolean;
  securityContext: Record<string, unknown>;
  initContainers: [Container];
  containers: [Container];
}
const podOf = (deployment: Manifest) =>
  (deployment as unknown as { spec: { template: { spec: Pod } } }).spec.template.spec;
const pod = podOf(found('Deployment'));

describe('deploy/kubernetes.yaml', () => {
  it.each(manifests.map((each) => [named(each), each] as const))(
    '%s fits its schema',
    (name, manifest) => {
      const Known = MODELS[name];
      expect(Known, `no schema for ${name}`).toBeDefined();
      new Known!(manifest as never).validate();
    },
  );

  it('is checked by schemas that refuse what is wrong', () => {
    const wrong = structuredClone(found('Deployment'));
    const [port] = podOf(wrong).initContainers[0].ports;
    if (port) port.containerPort = 'many';
    expect(() => new Deployment(wrong as never).validate()).toThrow();
  });

  it('has a watchdog configuration that the daemon takes', () => {
    const { data } = found('ConfigMap') as unknown as { data: Record<string, string> };
    const config = configSchema.parse(parse(data['config.yaml'] ?? ''));
    expect(config.server.control).toBe('external');
    expect(config.status.listen).toBe('0.0.0.0:4097');
  });

  it('makes the watchdog a native sidecar in one process namespace, as one user', () => {
    expect(pod.shareProcessNamespace).toBe(true);
    expect(pod.securityContext.runAsUser).toBe(1000);
    const [watchdog] = pod.initContainers;
    expect(watchdog.restartPolicy).toBe('Always');
    expect(watchdog.securityContext.readOnlyRootFilesystem).toBe(true);
  });

  it('lets exactly one of the two restart the server', () => {
    expect(pod.containers[0].livenessProbe).toBeUndefined();
    expect(pod.containers[0].readinessProbe?.httpGet.path).toBe('/readyz');
  });
});
