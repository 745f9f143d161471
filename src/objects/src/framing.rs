//! How records become the bytes of an object (spec s3-loader 2).

/// Container and compression of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Lines in one gzip member, `.gz`; level 1 to 12.
    Gzip {
        /// libdeflate's level; 6 is the original's.
        level: u8,
    },
    /// Ours: lines in one zstd frame with checksum, `.zst`; level 1 to 19.
    Zstd {
        /// zstd's level; 3 is its default.
        level: u8,
    },
    /// Elephant Bird blocks in an lzop file, `.lzo` and `.lzo.index` (line 2.x).
    Lzo,
}
