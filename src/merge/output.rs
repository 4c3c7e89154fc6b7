//! The merged file: packed as its name says, by a thread of its own, and under its name only once it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Pieces that are handed over.
pub(super) const PIECE: usize = 256 * 1024;
/// Pieces on their way.
const AHEAD: usize = 4;

enum Packer {
    Plain(File),
    Gzip(GzEncoder<File>),
    Zstd(zstd::stream::write::Encoder<'static, File>),
}

/// A file that is being written.
pub(super) struct Output {
    path: PathBuf,
    part: PathBuf,
    pieces: Option<SyncSender<Vec<u8>>>,
    /// Pieces that were written, to be filled again.
    back: Receiver<Vec<u8>>,
    writer: Option<JoinHandle<io::Result<u64>>>,
    is_whole: bool,
}

impl Output {
    /// Begins `NAME.PID.part`: two merges into one file must not take each other's.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut part = path.to_owned().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = File::create(&part)?;
        let ending = path.extension().unwrap_or_default().as_encoded_bytes();
        let packer = match ending {
            b"gz" => Packer::Gzip(GzEncoder::new(file, Compression::new(1))),
            b"zst" => Packer::Zstd(zstd::stream::write::Encoder::new(file, 3)?),
            _ => Packer::Plain(file),
        };
        let (pieces, taken) = sync_channel::<Vec<u8>>(AHEAD);
        let (give_back, back) = sync_channel(AHEAD + 1);
        let writer =
            std::thread::Builder::new().name("merge write".into()).spawn(move || pack(packer, &taken, &give_back))?;
        let path = path.to_owned();
        Ok(Self { path, part, pieces: Some(pieces), back, writer: Some(writer), is_whole: false })
    }

    /// Hands over what is in `text`, and leaves it empty. What is longer than a piece goes in several: a long event must
    /// not be on its way four times.
    ///
    /// # Errors
    /// What the system said to an earlier piece.
    pub(super) fn hand_over(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        for chunk in text.chunks(2 * PIECE) {
            let mut piece = self.back.try_recv().unwrap_or_default();
            piece.clear();
            piece.extend_from_slice(chunk);
            let is_taken = self.pieces.as_ref().is_some_and(|pieces| pieces.send(piece).is_ok());
            if !is_taken {
                return Err(self.join().err().unwrap_or_else(|| io::Error::other("the writer ended")));
            }
        }
        text.clear();
        text.shrink_to(4 * PIECE);
        Ok(())
    }

    fn join(&mut self) -> io::Result<u64> {
        self.pieces = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            _ => Err(io::Error::other("the writer ended")),
        }
    }

    /// Waits for the last byte and gives the file its name; its size.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let bytes = self.join()?;
        std::fs::rename(&self.part, &self.path)?;
        self.is_whole = true;
        Ok(bytes)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let _ = self.join();
        }
        if !self.is_whole {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

fn pack(mut packer: Packer, pieces: &Receiver<Vec<u8>>, back: &SyncSender<Vec<u8>>) -> io::Result<u64> {
    for piece in pieces {
        match &mut packer {
            Packer::Plain(file) => file.write_all(&piece)?,
            Packer::Gzip(encoder) => encoder.write_all(&piece)?,
            Packer::Zstd(encoder) => encoder.write_all(&piece)?,
        }
        let _ = back.try_send(piece);
    }
    let file = match packer {
        Packer::Plain(file) => file,
        Packer::Gzip(encoder) => encoder.finish()?,
        Packer::Zstd(encoder) => encoder.finish()?,
    };
    Ok(file.metadata()?.len())
}
