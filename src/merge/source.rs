//! The bytes of an input: a file that is plain, gzip or zstd, told by what it begins with and not by its name.
//!
//! gzip may have several members and zstd several frames. Where the packing ends too early or is damaged, what was
//! unpacked before counts, and [`Source::cut`] says so in words. A length and a checksum of the unpacked bytes tell whether
//! two inputs are the same file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Bytes read from a packed file at once.
const PACKED_BYTES: usize = 64 * 1024;
/// The largest zstd window that is read, as a power of two: 8 MiB, which is what level 19 takes.
const LARGEST_WINDOW_LOG: u32 = 23;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Unpacked bytes.
pub(super) struct Source {
    inner: Box<dyn Read + Send>,
    packing: Packing,
    cut: Option<String>,
    length: u64,
    checksum: crc32fast::Hasher,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut file = BufReader::with_capacity(PACKED_BYTES, file);
        let packing = packing(file.fill_buf()?);
        let inner: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
                decoder.window_log_max(LARGEST_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Self::of(inner, packing))
    }

    fn of(inner: Box<dyn Read + Send>, packing: Packing) -> Self {
        Self { inner, packing, cut: None, length: 0, checksum: crc32fast::Hasher::new() }
    }

    /// Why the bytes ended too early.
    pub(super) fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// Length and checksum of what was read.
    pub(super) fn digest(&self) -> (u64, u32) {
        (self.length, self.checksum.clone().finalize())
    }
}

/// Memory that reading a file takes besides its buffer: about the window of its packing.
pub(super) fn memory_bytes(path: &Path) -> io::Result<usize> {
    let mut file = BufReader::with_capacity(64, File::open(path)?);
    let head = file.fill_buf()?;
    Ok(match packing(head) {
        Packing::Plain => 0,
        Packing::Gzip => 128 * 1024,
        // Window, and its blocks on both sides.
        Packing::Zstd => window_bytes(head).min(1 << LARGEST_WINDOW_LOG) + 512 * 1024,
    })
}

fn packing(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        // A frame to be skipped comes first where zstd was written in parallel.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        _ => Packing::Plain,
    }
}

/// The window of a zstd frame, by its header (RFC 8878, 3.1.1.1).
fn window_bytes(head: &[u8]) -> usize {
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, window, ..] if descriptor & 0x20 == 0 => {
            let base = 1usize << (10 + (window >> 3)).min(40);
            base + base / 8 * usize::from(window & 7)
        }
        // One segment: the window is all of the frame, whose length stands behind the dictionary's number.
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] => {
            let length = match descriptor >> 6 {
                0 => 1,
                more => 1usize << more,
            };
            let number = [0, 1, 2, 4][usize::from(descriptor & 3)];
            let Some(length) = rest.get(number..number + length) else { return 1 << LARGEST_WINDOW_LOG };
            let bytes = length.iter().rev().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
            // Two bytes count from 256.
            usize::try_from(bytes + if length.len() == 2 { 256 } else { 0 }).unwrap_or(usize::MAX)
        }
        _ => 1 << LARGEST_WINDOW_LOG,
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cut.is_some() {
            return Ok(0);
        }
        match self.inner.read(buffer) {
            Ok(count) => {
                self.checksum.update(&buffer[..count]);
                self.length += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) if self.packing == Packing::Plain => Err(error),
            Err(error) => {
                let name = if self.packing == Packing::Gzip { "gzip" } else { "zstd" };
                self.cut = Some(match error.kind() {
                    ErrorKind::UnexpectedEof => format!("the {name} is cut short"),
                    ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other => {
                        format!("the {name} is damaged, or something else follows it ({error})")
                    }
                    _ => return Err(error),
                });
                Ok(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        let mut source = Source::open(file.path()).expect("open");
        let mut out = Vec::new();
        source.read_to_end(&mut out).expect("read");
        assert_eq!(source.digest().0, out.len() as u64);
        (out, source.cut().map(str::to_owned))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("packed")
    }

    /// Text that does not pack to nothing.
    fn text() -> Vec<u8> {
        (0..40_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_string().into_bytes()).collect()
    }

    #[test]
    fn packing_is_told_by_content_and_may_come_in_several_parts() {
        let text = text();
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("packed");
        let (half, rest) = text.split_at(text.len() / 2);
        for packed in [
            text.clone(),
            gzip(&text),
            zstd(&text),
            [gzip(half), gzip(rest)].concat(),
            [zstd(half), zstd(rest)].concat(),
        ] {
            assert_eq!(read(&packed), (text.clone(), None));
        }
    }

    #[test]
    fn what_was_unpacked_before_a_cut_is_kept_and_the_cut_is_told() {
        let text = text();
        for packed in [gzip(&text), zstd::encode_all(&text[..], 3).expect("packed")] {
            let (kept, cut) = read(&packed[..packed.len() * 2 / 3]);
            assert!(text.starts_with(&kept) && kept.len() > text.len() / 4, "{}", kept.len());
            assert!(cut.is_some_and(|cut| cut.ends_with("is cut short")));
        }
        let (kept, cut) = read(&[gzip(&text), b"what is this".to_vec()].concat());
        assert!(kept == text && cut.is_some_and(|cut| cut.contains("something else follows")));
    }

    #[test]
    fn a_window_is_read_from_the_head() {
        let head = |level| {
            let mut encoder = zstd::Encoder::new(Vec::new(), level).expect("encoder");
            encoder.write_all(&text()).expect("written");
            encoder.finish().expect("packed")
        };
        assert_eq!(window_bytes(&head(3)), 2 << 20);
        assert_eq!(window_bytes(&head(19)), 8 << 20);
        // Of what is packed in one piece, the window is all of it.
        for count in [1, 255, 256, 300, 70_000] {
            let mut packer = zstd::bulk::Compressor::new(3).expect("compressor");
            packer.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(true)).expect("set");
            let packed = packer.compress(&vec![b'x'; count]).expect("packed");
            assert_eq!(window_bytes(&packed), count);
        }
    }
}
