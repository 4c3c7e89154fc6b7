//! The driver's library and the symbols that we use, each asked for by name: a library or a symbol that is missing is an
//! answer. By hand, because what runs in an engine neither panics nor allocates, and cudarc does both to find its library.

use std::ffi::{CStr, c_void};

use crate::agent::once::Once;

/// `CUcontext`.
pub(in crate::agent) type Context = *mut c_void;
/// `CUevent`.
pub(in crate::agent) type Event = *mut c_void;
/// `CUstream`.
pub(in crate::agent) type Stream = *mut c_void;

/// `CUDA_SUCCESS`.
pub(in crate::agent) const SUCCESS: u32 = 0;
/// `CUDA_ERROR_NOT_INITIALIZED`.
pub(in crate::agent) const NOT_INITIALIZED: u32 = 3;

/// The driver's functions. All give a `CUresult`, which is an int: as an enum, a code that is new would be undefined.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct Driver {
    pub(in crate::agent) init: unsafe extern "C" fn(u32) -> u32,
    pub(in crate::agent) version: unsafe extern "C" fn(*mut i32) -> u32,
    pub(in crate::agent) profiler_start: unsafe extern "C" fn() -> u32,
    pub(in crate::agent) profiler_stop: unsafe extern "C" fn() -> u32,
    pub(in crate::agent) get_context: unsafe extern "C" fn(*mut Context) -> u32,
    pub(in crate::agent) set_context: unsafe extern "C" fn(Context) -> u32,
    pub(in crate::agent) synchronize: unsafe extern "C" fn() -> u32,
    pub(in crate::agent) event_create: unsafe extern "C" fn(*mut Event, u32) -> u32,
    pub(in crate::agent) event_record: unsafe extern "C" fn(Event, Stream) -> u32,
    pub(in crate::agent) event_query: unsafe extern "C" fn(Event) -> u32,
    pub(in crate::agent) event_elapsed: unsafe extern "C" fn(*mut f32, Event, Event) -> u32,
    /// From CUDA 10.1 on.
    exchange_capture_mode: Option<unsafe extern "C" fn(*mut u32) -> u32>,
}

/// `CU_STREAM_CAPTURE_MODE_RELAXED`.
const RELAXED: u32 = 2;

/// Why there is no driver to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Missing {
    /// No library of any of its names.
    Library,
    /// A library, but not with all the symbols.
    Symbol,
}

static DRIVER: Once<Result<Driver, Missing>> = Once::new();

/// The driver, if it was loaded.
#[inline]
pub(in crate::agent) fn driver() -> Option<&'static Driver> {
    DRIVER.get()?.as_ref().ok()
}

/// Loads it, once; slow.
pub(in crate::agent) fn load() -> Result<&'static Driver, Missing> {
    DRIVER.get_or_make(find).ok_or(Missing::Library)?.as_ref().map_err(|missing| *missing)
}

fn find() -> Result<Driver, Missing> {
    // By the name that every driver has, and engines load: their own copy if it is in this process already. A toolkit's
    // stub and other majors go by other names.
    // SAFETY: looks for a library; the driver's initialisers are made for any process. Never closed.
    let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        return Err(Missing::Library);
    }
    // SAFETY: a library's handle.
    driver_of(|name| unsafe { libc::dlsym(library, name.as_ptr()) })
}

fn driver_of(symbol: impl Fn(&CStr) -> *mut c_void) -> Result<Driver, Missing> {
    // SAFETY: the types are those of cuda.h.
    unsafe {
        Ok(Driver {
            init: function(symbol(c"cuInit"))?,
            version: function(symbol(c"cuDriverGetVersion"))?,
            profiler_start: function(symbol(c"cuProfilerStart"))?,
            profiler_stop: function(symbol(c"cuProfilerStop"))?,
            get_context: function(symbol(c"cuCtxGetCurrent"))?,
            set_context: function(symbol(c"cuCtxSetCurrent"))?,
            synchronize: function(symbol(c"cuCtxSynchronize"))?,
            event_create: function(symbol(c"cuEventCreate"))?,
            event_record: function(symbol(c"cuEventRecord"))?,
            event_query: function(symbol(c"cuEventQuery"))?,
            event_elapsed: function(symbol(c"cuEventElapsedTime"))?,
            exchange_capture_mode: function(symbol(c"cuThreadExchangeStreamCaptureMode")).ok(),
        })
    }
}

/// # Safety
/// `F` is the function pointer type of this symbol.
unsafe fn function<F: Copy>(symbol: *mut c_void) -> Result<F, Missing> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    if symbol.is_null() {
        return Err(Missing::Symbol);
    }
    // SAFETY: by contract; same size, and not null.
    Ok(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&symbol) })
}

impl Driver {
    /// What this thread asks of the driver from now on leaves a CUDA graph alone that another thread captures: in the
    /// driver's default mode a query from anywhere breaks it. For our own thread.
    pub(in crate::agent) fn leave_captures_alone(&self) {
        if let Some(exchange) = self.exchange_capture_mode {
            let mut mode = RELAXED;
            // SAFETY: a variable of ours, which gets the mode of before.
            unsafe { exchange(&mut mode) };
        }
    }

    /// What is current on this thread; null for none, the code if the driver would not say.
    pub(in crate::agent) fn current_context(&self) -> Result<Context, u32> {
        let mut context = std::ptr::null_mut();
        // SAFETY: a variable of ours.
        match unsafe { (self.get_context)(&mut context) } {
            SUCCESS => Ok(context),
            code => Err(code),
        }
    }
}
