//! The function pointers of one NVTX instance: we offer the slots, a tool fills them in.
//!
//! The protocol's callbacks carry no context, so every instance has functions of its own: that is what the number is for.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::abi::{Callbacks, GetExportTable, VERSION, VersionInfo, export, module};

/// Most slots of a module.
const WIDEST: usize = 16;
const MODULES: usize = module::SLOTS.len();

/// The slots of one instance.
pub(in crate::agent) struct Tables {
    slots: [[AtomicPtr<c_void>; WIDEST]; MODULES],
    /// Where each slot is, which is what a tool asks for. Filled in with constants, over and over the same.
    addresses: UnsafeCell<[[*mut c_void; WIDEST]; MODULES]>,
}

// SAFETY: `addresses` is written with the same values whoever writes it, word by word through atomics.
unsafe impl Sync for Tables {}

impl Tables {
    const fn new() -> Self {
        Self {
            slots: [const { [const { AtomicPtr::new(null_mut()) }; WIDEST] }; MODULES],
            addresses: UnsafeCell::new([[null_mut(); WIDEST]; MODULES]),
        }
    }

    /// What the tool put into a slot, or null.
    pub(in crate::agent) fn get(&self, module: usize, slot: usize) -> *mut c_void {
        self.slots
            .get(module.wrapping_sub(1))
            .and_then(|m| m.get(slot))
            .map_or(null_mut(), |s| s.load(Ordering::Relaxed))
    }

    fn table(&self, module: usize) -> Option<(*mut *mut c_void, u32)> {
        let index = module.checked_sub(1)?;
        let (slots, count) = (self.slots.get(index)?, *module::SLOTS.get(index)?);
        // SAFETY: in bounds, as `slots` is.
        let addresses =
            unsafe { self.addresses.get().cast::<[*mut c_void; WIDEST]>().add(index) }.cast::<*mut c_void>();
        for (id, slot) in slots.iter().enumerate().skip(1) {
            // SAFETY: in bounds; only ever accessed as an atomic by us, and read by a tool that we are called by.
            let address = unsafe { AtomicPtr::from_ptr(addresses.add(id)) };
            address.store(slot.as_ptr().cast::<c_void>(), Ordering::Relaxed);
        }
        Some((addresses, count as u32))
    }
}

/// Number of the instance that is our own emitter; the others stand between an instance of the engine's and its tool.
pub(in crate::agent) const OURS: usize = 0;
const INSTANCES: usize = 17;

static TABLES: [Tables; INSTANCES] = [const { Tables::new() }; INSTANCES];

/// The slots of instance `I`.
pub(in crate::agent) fn tables<const I: usize>() -> &'static Tables {
    &TABLES[I]
}

/// What a tool is given for instance `I`.
pub(in crate::agent) fn get_export_table<const I: usize>() -> GetExportTable {
    answer::<I>
}

extern "C" fn answer<const I: usize>(id: u32) -> *const c_void {
    match id {
        export::CALLBACKS => (&raw const *const {
            &Callbacks { struct_size: size_of::<Callbacks>(), get_module_function_table: table::<I> }
        })
            .cast(),
        export::VERSION_INFO => (&raw const *const {
            &VersionInfo {
                struct_size: size_of::<VersionInfo>(),
                version: VERSION as u32,
                reserved: 0,
                set_injection_version,
            }
        })
            .cast(),
        _ => null(),
    }
}

extern "C" fn table<const I: usize>(module: u32, out: *mut *mut *mut c_void, size: *mut u32) -> i32 {
    let Some((table, count)) = tables::<I>().table(module as usize) else { return 0 };
    // SAFETY: the tool passes pointers to two variables of its own; either may be null.
    unsafe {
        if !out.is_null() {
            out.write(table);
        }
        if !size.is_null() {
            size.write(count);
        }
    }
    1
}

extern "C" fn set_injection_version(_: u32) {}
