//! LZO objects: Elephant Bird "raw block" groups inside an lzop file, and the index that lets readers split it
//! (spec s3-loader 2.2).

use lzokay_native::{Dict, compress_with_dict};

const MARKER: [u8; 16] =
    [0x29, 0xD8, 0xD5, 0x06, 0x58, 0xCD, 0x4C, 0x29, 0xB2, 0xBC, 0x57, 0x99, 0x21, 0x71, 0xBD, 0xFF];
const RECORDS_A_GROUP: usize = 100;
/// Field 1 (int32) = 1, field 2 (string) = "byte[]".
const GROUP_HEAD: &[u8] = b"\x08\x01\x12\x06byte[]";
/// Key of field 3, length-delimited.
const RECORD_KEY: u8 = 0x1A;

const MAGIC: [u8; 9] = [0x89, 0x4C, 0x5A, 0x4F, 0x00, 0x0D, 0x0A, 0x1A, 0x0A];
const VERSION: u16 = 0x1010;
/// What the original's native library reports; readers only print it.
const LIBRARY_VERSION: u16 = 0x2060;
const VERSION_NEEDED: u16 = 0x0940;
const METHOD_LZO1X_1: u8 = 1;
const LEVEL: u8 = 5;
const MODE: u32 = 0o100_644;
/// Most plain bytes of one block: the original's buffer of 256 KiB less what incompressible data may grow by.
const BLOCK_BYTES: usize = 245_693;

/// Appends the records in groups of up to 100, each a marker, the length of the message (u32 little-endian) and a
/// Protocol Buffers message.
pub(super) fn write_record_blocks<'a>(records: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut in_group = 0;
    let mut length_at = 0;
    for record in records {
        if in_group == 0 {
            out.extend_from_slice(&MARKER);
            length_at = out.len();
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(GROUP_HEAD);
        }
        out.push(RECORD_KEY);
        write_varint(record.len(), out);
        out.extend_from_slice(record);
        in_group += 1;
        if in_group == RECORDS_A_GROUP {
            close_group(length_at, out);
            in_group = 0;
        }
    }
    if in_group > 0 {
        close_group(length_at, out);
    }
}

fn close_group(length_at: usize, out: &mut [u8]) {
    let length = u32::try_from(out.len() - length_at - 4).expect("a batch is far below 4 GiB");
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

fn write_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes lzop files; keeps the compressor's work memory.
pub(super) struct LzoWriter {
    dict: Dict,
}

impl LzoWriter {
    pub(super) fn new() -> Self {
        LzoWriter { dict: Dict::new() }
    }

    /// The file and its index: one i64 a block, the position of the block's header in the file.
    pub(super) fn write(&mut self, plain: &[u8], mtime_seconds: i64) -> (Vec<u8>, Vec<u8>) {
        let mut file = Vec::with_capacity(64 + plain.len() / 2);
        let mut index = Vec::with_capacity(8 * plain.len().div_ceil(BLOCK_BYTES));
        write_header(mtime_seconds, &mut file);
        for block in plain.chunks(BLOCK_BYTES) {
            index.extend_from_slice(&(file.len() as i64).to_be_bytes());
            // A block that does not get shorter is stored plain, as lzop does; so is one the compressor refuses.
            let packed = compress_with_dict(block, &mut self.dict).ok().filter(|packed| packed.len() < block.len());
            let stored = packed.as_deref().unwrap_or(block);
            file.extend_from_slice(&(block.len() as u32).to_be_bytes());
            file.extend_from_slice(&(stored.len() as u32).to_be_bytes());
            file.extend_from_slice(stored);
        }
        file.extend_from_slice(&[0; 4]);
        (file, index)
    }
}

fn write_header(mtime_seconds: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    let start = out.len();
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&LIBRARY_VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION_NEEDED.to_be_bytes());
    out.push(METHOD_LZO1X_1);
    out.push(LEVEL);
    out.extend_from_slice(&0u32.to_be_bytes());
    out.extend_from_slice(&MODE.to_be_bytes());
    out.extend_from_slice(&(mtime_seconds as u32).to_be_bytes());
    out.extend_from_slice(&0u32.to_be_bytes());
    out.push(0);
    let checksum = libdeflater::adler32(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file back by its index, block by block.
    fn plain(file: &[u8], index: &[u8]) -> Vec<u8> {
        let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let mut plain = Vec::new();
        let mut end = 38;
        for offset in index.chunks(8) {
            let at = i64::from_be_bytes(offset.try_into().unwrap()) as usize;
            assert_eq!(at, end, "blocks follow one another");
            let (length, stored) = (word(at), &file[at + 8..at + 8 + word(at + 4)]);
            if stored.len() == length {
                plain.extend_from_slice(stored);
            } else {
                plain.extend(lzokay_native::decompress_all(stored, Some(length)).unwrap());
            }
            end = at + 8 + stored.len();
        }
        assert_eq!(file[end..], [0; 4]);
        plain
    }

    #[test]
    fn files_of_several_blocks_are_read_back_by_their_index() {
        let mut random = 1u32;
        let mut noise = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        };
        let text = b"app\tweb\t2024-03-05 09:08:07.250\t".repeat(20_000);
        let incompressible: Vec<u8> = (0..500_000).map(|_| noise()).collect();
        let mut writer = LzoWriter::new();
        for (content, blocks) in [(&text, 3), (&incompressible, 3), (&Vec::new(), 0)] {
            let (file, index) = writer.write(content, 0);
            assert_eq!(index.len(), 8 * blocks);
            assert!(plain(&file, &index) == *content);
        }
    }

    #[test]
    fn long_records_have_long_varints() {
        let mut out = Vec::new();
        write_record_blocks([vec![7; 300].as_slice()].into_iter(), &mut out);
        assert_eq!(out[16 + 4 + GROUP_HEAD.len()..][..3], [0x1A, 0xAC, 0x02]);
        assert_eq!(out.len(), 16 + 4 + GROUP_HEAD.len() + 3 + 300);
    }
}
