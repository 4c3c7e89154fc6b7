//! The folder that a run leaves behind. Files come under their names once they are whole.

use std::io;
use std::path::{Path, PathBuf};

/// Makes it: the one that is named, or a new one here, named after the time.
pub(super) fn make(named: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(named) = named {
        std::fs::create_dir_all(named)?;
        return writable(named.to_owned());
    }
    let base = format!("stepscope-run-{}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"));
    for again in 1.. {
        let name = if again == 1 { base.clone() } else { format!("{base}-{again}") };
        match std::fs::create_dir(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return writable(name.into()),
        }
    }
    unreachable!("it returns from the loop")
}

/// An hour of benchmark must not end with a folder that takes nothing.
fn writable(folder: PathBuf) -> io::Result<PathBuf> {
    let probe = folder.join(format!(".stepscope-{}", std::process::id()));
    std::fs::write(&probe, "")?;
    std::fs::remove_file(probe)?;
    Ok(folder)
}

/// Writes a file whole, or leaves what was there.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let part = folder.join(format!("{name}.{}.part", std::process::id()));
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, folder.join(name)));
    written.inspect_err(|_| drop(std::fs::remove_file(&part)))
}
