import type { FileFacts } from "deathtensors";
import { dtypes } from "../state/finder.ts";
import { place } from "../state/location.ts";
import { comparing, type Opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { baseName, visible } from "../text/visible.ts";
import { ByteMap } from "./byte-map.tsx";
import { Compare } from "./compare.tsx";
import { CopyButton } from "./copy.tsx";
import { DtypeTag } from "./dtype.tsx";
import { Metadata } from "./metadata.tsx";
import { Verify } from "./verify.tsx";

/** The file as a whole. */
export function FilePage({ opened }: { opened: Opened }) {
  const { file } = opened;
  const { facts } = file;
  return (
    <article class="file" data-testid="file-page" aria-labelledby="file-title">
      {(comparing.value || place.value.compare !== undefined) && <Compare />}
      <header class="title">
        <h2 id="file-title" data-testid="file-name" title={visible(opened.tried)}>
          {visible(baseName(facts.name))}
        </h2>
        <CopyButton
          what="link"
          text={() => location.href}
          disabled={opened.local}
          testid="link-button"
        >
          Link
        </CopyButton>
      </header>
      <Facts facts={facts} />
      <Verify />
      <section aria-labelledby="map-title">
        <h3 id="map-title">Where the bytes are</h3>
        <ByteMap lines={6} />
      </section>
      <div class="columns">
        <Distribution />
        {facts.shards && <Shards shards={facts.shards} />}
        <Metadata metadata={file.metadata} />
      </div>
      <p class="cost">
        {opened.local
          ? `Opening it read ${numbers.bytes(opened.cost.bytes)} of it, in this browser. Nothing was sent anywhere.`
          : `Finding this out took ${numbers.plural(opened.cost.requests, "request")} and ${numbers.bytes(opened.cost.bytes)}, ${numbers.percent(Math.min(1, opened.cost.bytes / Math.max(1, facts.fileBytes)))} of the file.`}
      </p>
    </article>
  );
}

type Fact = readonly [
  key: string,
  label: string,
  shown: string,
  value: string | number | boolean,
  exact?: string,
];

function Facts({ facts }: { facts: FileFacts }) {
  return (
    <dl class="facts" data-testid="file-facts">
      {factsOf(facts).map(([key, label, shown, value, exact]) => (
        <div key={key} data-testid={`fact-${key}`} data-value={String(value)} data-key={key}>
          <dt>{label}</dt>
          <dd title={exact}>{shown}</dd>
        </div>
      ))}
    </dl>
  );
}

function factsOf(facts: FileFacts): Fact[] {
  const { fileBytes, storedBytes, dataBytes, headerBytes } = facts;
  const saving = dataBytes > 0 ? 1 - storedBytes / dataBytes : 0;
  const list: Fact[] = [
    ["format", "Format", facts.format, facts.format],
    ["size", "Size", numbers.bytes(fileBytes), fileBytes, numbers.exactBytes(fileBytes)],
    ["tensors", "Tensors", numbers.whole(facts.tensors), facts.tensors],
    [
      "parameters",
      "Parameters",
      numbers.count(facts.parameters),
      facts.parameters,
      numbers.whole(facts.parameters),
    ],
    ["header", "Header", numbers.bytes(headerBytes), headerBytes, numbers.exactBytes(headerBytes)],
    [
      "saving",
      "Compression",
      facts.compressed ? `zstd, ${numbers.percent(saving)} saved` : "none",
      facts.compressed ? saving : 0,
      `${numbers.exactBytes(storedBytes)} stored, ${numbers.exactBytes(dataBytes)} of data`,
    ],
    ["checksum", "Checksum", facts.checksum ? "SHA-256 footer" : "none", facts.checksum],
    ["digests", "Digests", facts.digests ? "one for every tensor" : "none", facts.digests],
  ];
  if (facts.createdBy)
    list.push(["created-by", "Written by", visible(facts.createdBy), facts.createdBy]);
  if (facts.root)
    list.push([
      "root",
      "Root",
      facts.root,
      facts.root,
      "SHA-256 that stands for all names, shapes and bytes",
    ]);
  if (facts.commit) list.push(["commit", "Commit", visible(facts.commit), facts.commit]);
  return list;
}

function Distribution() {
  const total = dtypes.value.reduce((sum, { bytes }) => sum + bytes, 0);
  return (
    <section aria-labelledby="dtypes-title">
      <h3 id="dtypes-title">Dtypes</h3>
      <table class="distribution" data-testid="dtype-distribution">
        <thead>
          <tr>
            <th scope="col">Dtype</th>
            <th scope="col" class="left">
              Share of bytes
            </th>
            <th scope="col">Bytes</th>
            <th scope="col">Values</th>
            <th scope="col">Tensors</th>
          </tr>
        </thead>
        <tbody>
          {dtypes.value.map(({ dtype, bytes, elements, tensors }) => {
            const share = total > 0 ? bytes / total : 0;
            return (
              <tr key={dtype} data-testid="dtype-row" data-dtype={dtype} data-bytes={bytes}>
                <th scope="row">
                  <DtypeTag dtype={dtype} />
                </th>
                <td class="left">
                  <span class="bar" aria-hidden="true">
                    <span style={{ width: `${100 * share}%` }} />
                  </span>
                  {numbers.percent(share)}
                </td>
                <td title={numbers.exactBytes(bytes)}>{numbers.bytes(bytes)}</td>
                <td title={numbers.whole(elements)}>{numbers.count(elements)}</td>
                <td>{numbers.whole(tensors)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function Shards({ shards }: { shards: NonNullable<FileFacts["shards"]> }) {
  return (
    <section aria-labelledby="shards-title">
      <h3 id="shards-title">Files</h3>
      <table class="distribution">
        <thead>
          <tr>
            <th scope="col">File</th>
            <th scope="col">Bytes of tensors</th>
            <th scope="col">Tensors</th>
          </tr>
        </thead>
        <tbody>
          {shards.map((shard) => (
            <tr key={shard.name}>
              <th scope="row">{visible(shard.name)}</th>
              <td title={numbers.exactBytes(shard.bytes)}>{numbers.bytes(shard.bytes)}</td>
              <td>{numbers.whole(shard.tensors)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
