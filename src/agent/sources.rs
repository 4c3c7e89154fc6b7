//! Who drives the steps of this process: one source only, the first that claims them.

use std::sync::Mutex;

/// Names kept, so that `describe` can tell of those that were turned away.
const KEPT: usize = 16;

static CLAIMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether `name` is, or with this becomes, the one source. Never waits: while another thread claims, the answer is no.
pub(super) fn claim(name: String) -> bool {
    let Ok(mut claimed) = CLAIMED.try_lock() else { return false };
    if !claimed.contains(&name) && claimed.len() < KEPT {
        claimed.push(name.clone());
    }
    claimed.first() == Some(&name)
}

/// All that claimed, the winner first.
pub(super) fn all() -> Vec<String> {
    CLAIMED.try_lock().map(|claimed| claimed.clone()).unwrap_or_default()
}
