// All schemas that may be seen, as a tree: vendor, name, versions.

import { ask } from './registry.js';

const URI = /^iglu:([^/]+)\/([^/]+)\/([^/]+)\/(\d+)-(\d+)-(\d+)$/;

let vendors = new Map();
let names = [];

/** Reads the list again. */
export async function load() {
  const uris = await ask('api/schemas');
  const found = new Map();
  for (const uri of uris) {
    const parts = URI.exec(uri);
    if (!parts) continue;
    const [, vendor, name, format, ...numbers] = parts;
    if (!found.has(vendor)) found.set(vendor, new Map());
    const inVendor = found.get(vendor);
    const id = `${name}\n${format}`;
    if (!inVendor.has(id)) inVendor.set(id, { vendor, name, format, versions: [] });
    inVendor.get(id).versions.push(numbers.map(Number));
  }
  vendors = new Map();
  names = [];
  for (const vendor of [...found.keys()].sort()) {
    const inVendor = [...found.get(vendor).values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    for (const one of inVendor) {
      one.versions = one.versions.sort(newestFirst).map((numbers) => numbers.join('-'));
      one.text = `${vendor}/${one.name}`.toLowerCase();
      names.push(one);
    }
    vendors.set(vendor, inVendor);
  }
}

const newestFirst = (a, b) => b[0] - a[0] || b[1] - a[1] || b[2] - a[2];

/** Vendors in order, each with its names. */
export function all() {
  return vendors;
}

/** How many there are. */
export function counts() {
  return { vendors: vendors.size, names: names.length, schemas: names.reduce((sum, one) => sum + one.versions.length, 0) };
}

/** The name, or nothing. Without a format, the first. */
export function find(vendor, name, format) {
  return vendors.get(vendor)?.find((one) => one.name === name && (format === undefined || one.format === format));
}

/** Names that have every word of the query, at most so many, and whether there are more. */
export function search(query, most) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const one of names) {
    if (!words.every((word) => one.text.includes(word))) continue;
    if (found.length === most) return { found, more: true };
    found.push(one);
  }
  return { found, more: false };
}
