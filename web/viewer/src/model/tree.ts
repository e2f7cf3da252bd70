import type { TensorInfo } from "deathtensors";
import { natural } from "../text/natural.ts";

/** A part of the dotted names: a folder of tensors, or one tensor. */
export interface Node {
  /** The whole dotted path: unique, and what remembers whether the node is open. */
  readonly path: string;
  readonly label: string;
  readonly tensor: TensorInfo | undefined;
  readonly children: Node[];
  readonly bytes: number;
  readonly tensors: number;
  /** How many numbered blocks the children are, when they are that and nothing else. */
  readonly blocks: number;
}

/** A line of the tree as it is shown. */
export interface Line {
  readonly node: Node;
  readonly level: number;
  readonly open: boolean;
  readonly position: number;
  readonly siblings: number;
}

/** A folder while names are added to it. A tensor and a folder may have the same name. */
interface Draft {
  path: string;
  label: string;
  folders: Map<string, Draft>;
  tensors: Node[];
}

export function treeOf(infos: readonly TensorInfo[]): Node {
  const root = draft("", "");
  for (const info of infos) add(root, info);
  return finish(root);
}

/**
 * Names of a thousand dots would make a tree of a thousand levels; from this depth on the rest of
 * the name is one label.
 */
const DEEPEST = 24;

function add(root: Draft, info: TensorInfo) {
  const { name } = info;
  let folder = root;
  let from = 0;
  for (let level = 1; level < DEEPEST; level++) {
    const dot = name.indexOf(".", from);
    if (dot < 0) break;
    const label = name.slice(from, dot);
    let next = folder.folders.get(label);
    if (!next) {
      next = draft(name.slice(0, dot), label);
      folder.folders.set(label, next);
    }
    folder = next;
    from = dot + 1;
  }
  folder.tensors.push(leaf(info, name.slice(from)));
}

function draft(path: string, label: string): Draft {
  return { path, label, folders: new Map(), tensors: [] };
}

function leaf(info: TensorInfo, label: string): Node {
  return {
    path: info.name,
    label,
    tensor: info,
    children: [],
    bytes: info.nbytes,
    tensors: 1,
    blocks: 0,
  };
}

function finish({ path, label, folders, tensors }: Draft): Node {
  const finished = [...folders.values()].map(finish);
  const [only] = finished.length > 0 ? finished : tensors;
  // A folder that holds one thing only is one line with it.
  if (path !== "" && only && finished.length + tensors.length === 1) {
    return { ...only, label: `${label}.${only.label}` };
  }
  const children = [...finished, ...tensors].sort((a, b) => natural(a.label, b.label));
  const numbered = children.length > 1 && children.every(isBlock);
  return {
    path,
    label,
    tensor: undefined,
    children: numbered || path === "" ? children : foldNumbered(path, children),
    bytes: sum(children, (child) => child.bytes),
    tensors: sum(children, (child) => child.tensors),
    blocks: numbered ? children.length : 0,
  };
}

function isBlock({ label }: Node): boolean {
  return /^\d+(\.|$)/.test(label);
}

/** Numbered children among others become a folder of their own. */
function foldNumbered(path: string, children: Node[]): Node[] {
  const blocks = children.filter((child) => isBlock(child) && !child.tensor);
  if (blocks.length < 3) return children;
  const folder: Node = {
    path: `${path}.#`,
    label: `${blocks[0]?.label} … ${blocks.at(-1)?.label}`,
    tensor: undefined,
    children: blocks,
    bytes: sum(blocks, (child) => child.bytes),
    tensors: sum(blocks, (child) => child.tensors),
    blocks: blocks.length,
  };
  return [folder, ...children.filter((child) => !blocks.includes(child))];
}

function sum(nodes: readonly Node[], of: (node: Node) => number): number {
  return nodes.reduce((total, node) => total + of(node), 0);
}

/** What is open at first: level by level while it fits a screen, and no run of blocks. */
export function openAtFirst(root: Node, room = 40): Set<string> {
  const open = new Set<string>();
  let lines = root.children.length;
  let level = root.children;
  while (level.length > 0) {
    const next: Node[] = [];
    for (const node of level) {
      if (node.tensor || node.blocks > 0) continue;
      if (lines + node.children.length > room) continue;
      open.add(node.path);
      lines += node.children.length;
      next.push(...node.children);
    }
    level = next;
  }
  return open;
}

/** The folders on the way to a tensor. */
export function wayTo(root: Node, name: string): string[] {
  const way: string[] = [];
  const walk = (node: Node): boolean => {
    if (node.tensor) return node.tensor.name === name;
    for (const child of node.children) {
      const leads = child.tensor
        ? child.tensor.name === name
        : name.startsWith(child.path.replace(/#$/, ""));
      if (leads && walk(child)) {
        if (!child.tensor) way.push(child.path);
        return true;
      }
    }
    return false;
  };
  walk(root);
  return way;
}

/** The lines to show: all below open folders, or below all folders. */
export function lines(root: Node, isOpen: (path: string) => boolean): Line[] {
  const out: Line[] = [];
  const walk = (children: readonly Node[], level: number) => {
    children.forEach((node, i) => {
      const open = !node.tensor && isOpen(node.path);
      out.push({ node, level, open, position: i + 1, siblings: children.length });
      if (open) walk(node.children, level + 1);
    });
  };
  walk(root.children, 1);
  return out;
}
