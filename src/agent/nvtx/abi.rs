//! Numbers, structures and signatures of NVTX version 3, as its headers have them (`nvtxTypes.h`, `nvtxImplCore.h`).

use std::ffi::{c_char, c_void};

/// An opaque pointer that the tool chose: a domain, a registered string.
pub(in crate::agent) type Handle = *mut c_void;
/// What a tool exports under [`ENTRY`]: non-zero keeps it.
pub(in crate::agent) type Initialize = unsafe extern "C" fn(GetExportTable) -> i32;
/// What a tool is given.
pub(in crate::agent) type GetExportTable = extern "C" fn(u32) -> *const c_void;

/// The tool's entry point.
pub(in crate::agent) const ENTRY: &std::ffi::CStr = c"InitializeInjectionNvtx2";

/// Ids of export tables.
pub(in crate::agent) mod export {
    /// [`super::Callbacks`].
    pub(in crate::agent) const CALLBACKS: u32 = 1;
    /// [`super::VersionInfo`].
    pub(in crate::agent) const VERSION_INFO: u32 = 3;
}

/// Export table 1.
#[repr(C)]
pub(in crate::agent) struct Callbacks {
    pub(in crate::agent) struct_size: usize,
    pub(in crate::agent) get_module_function_table: extern "C" fn(u32, *mut *mut *mut c_void, *mut u32) -> i32,
}

/// Export table 3.
#[repr(C)]
pub(in crate::agent) struct VersionInfo {
    pub(in crate::agent) struct_size: usize,
    pub(in crate::agent) version: u32,
    pub(in crate::agent) reserved: u32,
    pub(in crate::agent) set_injection_version: extern "C" fn(u32),
}

/// Version of NVTX that we speak, and of [`Attributes`].
pub(in crate::agent) const VERSION: u16 = 3;

/// The modules, and how many slots each has; slot 0 is never used. Tools check an id against the size.
pub(in crate::agent) mod module {
    /// Default domain: marks, ranges, names.
    pub(in crate::agent) const CORE: usize = 1;
    /// Domains.
    pub(in crate::agent) const CORE2: usize = 5;
    /// Slots by module, from module 1: core, CUDA, OpenCL, CUDA runtime, core 2, synchronisation.
    pub(in crate::agent) const SLOTS: [usize; 6] = [16, 9, 15, 7, 16, 7];
}

/// Slots of module CORE.
pub(in crate::agent) mod core {
    pub(in crate::agent) const RANGE_START_EX: usize = 4;
    pub(in crate::agent) const RANGE_START: usize = 5;
    pub(in crate::agent) const RANGE_START_WIDE: usize = 6;
    pub(in crate::agent) const RANGE_END: usize = 7;
    pub(in crate::agent) const RANGE_PUSH_EX: usize = 8;
    pub(in crate::agent) const RANGE_PUSH: usize = 9;
    pub(in crate::agent) const RANGE_PUSH_WIDE: usize = 10;
    pub(in crate::agent) const RANGE_POP: usize = 11;
}

/// Slots of module CORE2.
pub(in crate::agent) mod core2 {
    pub(in crate::agent) const MARK: usize = 1;
    pub(in crate::agent) const RANGE_START: usize = 2;
    pub(in crate::agent) const RANGE_END: usize = 3;
    pub(in crate::agent) const RANGE_PUSH: usize = 4;
    pub(in crate::agent) const RANGE_POP: usize = 5;
    pub(in crate::agent) const REGISTER_STRING: usize = 10;
    pub(in crate::agent) const REGISTER_STRING_WIDE: usize = 11;
    pub(in crate::agent) const DOMAIN_CREATE: usize = 12;
    pub(in crate::agent) const DOMAIN_CREATE_WIDE: usize = 13;
}

/// `nvtxEventAttributes_t`.
#[repr(C)]
pub(in crate::agent) struct Attributes {
    pub(in crate::agent) version: u16,
    pub(in crate::agent) size: u16,
    pub(in crate::agent) category: u32,
    pub(in crate::agent) color_type: i32,
    pub(in crate::agent) color: u32,
    pub(in crate::agent) payload_type: i32,
    pub(in crate::agent) reserved: i32,
    pub(in crate::agent) payload: u64,
    pub(in crate::agent) message_type: i32,
    pub(in crate::agent) message: *const c_void,
}

/// `payload` is a `u64`.
pub(in crate::agent) const PAYLOAD_U64: i32 = 1;
/// `message` is a NUL-terminated string of bytes.
pub(in crate::agent) const MESSAGE_ASCII: i32 = 1;
/// `message` is a NUL-terminated string of wide characters, of 32 bits each here.
pub(in crate::agent) const MESSAGE_WIDE: i32 = 2;
/// `message` is a [`Handle`] of a registered string.
pub(in crate::agent) const MESSAGE_REGISTERED: i32 = 3;
/// `color` is alpha, red, green, blue.
pub(in crate::agent) const COLOR_ARGB: i32 = 1;

pub(in crate::agent) type DomainCreate = unsafe extern "C" fn(*const c_char) -> Handle;
pub(in crate::agent) type DomainCreateWide = unsafe extern "C" fn(*const u32) -> Handle;
pub(in crate::agent) type RegisterStringWide = unsafe extern "C" fn(Handle, *const u32) -> Handle;
pub(in crate::agent) type RegisterString = unsafe extern "C" fn(Handle, *const c_char) -> Handle;
pub(in crate::agent) type RangePush = unsafe extern "C" fn(Handle, *const Attributes) -> i32;
pub(in crate::agent) type RangePop = unsafe extern "C" fn(Handle) -> i32;
pub(in crate::agent) type RangeStart = unsafe extern "C" fn(Handle, *const Attributes) -> u64;
pub(in crate::agent) type RangeEnd = unsafe extern "C" fn(Handle, u64);
pub(in crate::agent) type PushEx = unsafe extern "C" fn(*const Attributes) -> i32;
pub(in crate::agent) type PushText = unsafe extern "C" fn(*const c_char) -> i32;
pub(in crate::agent) type PushWide = unsafe extern "C" fn(*const u32) -> i32;
pub(in crate::agent) type Pop = unsafe extern "C" fn() -> i32;
pub(in crate::agent) type StartEx = unsafe extern "C" fn(*const Attributes) -> u64;
pub(in crate::agent) type StartText = unsafe extern "C" fn(*const c_char) -> u64;
pub(in crate::agent) type StartWide = unsafe extern "C" fn(*const u32) -> u64;
pub(in crate::agent) type End = unsafe extern "C" fn(u64);
pub(in crate::agent) type Mark = unsafe extern "C" fn(Handle, *const Attributes);

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Attributes>() == 48 && offset_of!(Attributes, payload) == 24);
    assert!(offset_of!(Attributes, message_type) == 32 && offset_of!(Attributes, message) == 40);
};
