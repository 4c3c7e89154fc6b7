//! Who drives the steps of this process: one source only, the first that claims them.

use crate::wire::text::FixedText;

use super::guard::TryLock;

/// A source's name.
pub(super) type Name = FixedText<128>;

/// Names kept, so that `describe` can tell of those that were turned away; the winner first.
static CLAIMED: TryLock<[Name; 16]> = TryLock::new([Name::new(); 16]);

/// Whether `name` is, or with this becomes, the one source. Never waits: while another thread claims, the answer is no.
pub(super) fn claim(name: &Name) -> bool {
    let claimed = CLAIMED.with(|claimed| {
        if let Some(kept) = claimed.iter_mut().find(|kept| kept.is_empty() || *kept == name) {
            *kept = *name;
        }
        claimed.first() == Some(name)
    });
    claimed.unwrap_or(false)
}

/// Calls `look` with all that claimed, the winner first.
pub(super) fn each(mut look: impl FnMut(&Name)) {
    CLAIMED.with(|claimed| claimed.iter().take_while(|name| !name.is_empty()).for_each(&mut look));
}

/// In a forked child: whoever was claiming is not here.
pub(super) fn unlock() {
    CLAIMED.unlock();
}
