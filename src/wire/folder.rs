//! The segments' folder: where it is, whose it is, and whether strangers can plant files in it.

use super::create::CreateError;
use super::system;
use super::text::{FixedText, PathText};

/// The folder that both sides use unless told otherwise: `STEPSCOPE_DIR`, else `/dev/shm/stepscope-<uid>`.
pub fn default_folder() -> PathText {
    system::variable(c"STEPSCOPE_DIR").unwrap_or_else(|| {
        let mut folder = FixedText::from("/dev/shm/stepscope-");
        *folder.push_decimal(u64::from(user_id()))
    })
}

/// Effective user id.
pub fn user_id() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// Makes the folder if need be and checks that strangers cannot plant files in it.
///
/// # Errors
/// What is wrong with the folder.
pub fn prepare_folder(folder: &PathText) -> Result<(), CreateError> {
    if folder.is_cut() {
        return Err(CreateError::Folder("cannot be made", libc::ENAMETOOLONG));
    }
    match system::make_folder(folder, 0o700) {
        Ok(()) | Err(libc::EEXIST) => {}
        Err(code) => return Err(CreateError::Folder("cannot be made", code)),
    }
    let status = system::status_at(folder).map_err(|code| CreateError::Folder("cannot be looked at", code))?;
    if !system::is_kind(&status, libc::S_IFDIR) {
        return Err(CreateError::Folder("is not a folder", 0));
    }
    if status.st_mode & 0o002 != 0 {
        return Err(CreateError::OpenToAll);
    }
    Ok(())
}
