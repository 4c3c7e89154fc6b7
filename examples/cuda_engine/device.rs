//! The work of an iteration: kernels of a known length, whose shape says which iteration they are of.

use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{CUfunction, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaEvent, CudaGraph, CudaStream, DriverError, result};

use crate::arguments::Arguments;

const PTX: &str = include_str!("spin.ptx");
/// Iterations that can be told apart by a kernel's block.
const SHAPES: u64 = 1000;

/// A device, and what was given to it.
pub(crate) struct Device {
    streams: Vec<Arc<CudaStream>>,
    kernel: CUfunction,
    arguments: Arguments,
    /// The one graph that every iteration launches.
    replayed: Option<CudaGraph>,
    /// The ends of iterations that the host has not waited for, with the graphs that they run.
    pending: VecDeque<(CudaEvent, Option<CudaGraph>)>,
}

impl Device {
    /// Takes the device of this rank; its context becomes current on this thread.
    ///
    /// # Errors
    /// What the driver answered.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, DriverError> {
        result::init()?;
        let devices = u32::try_from(result::device::get_count()?).unwrap_or(0).max(1);
        let context = CudaContext::new((arguments.rank % devices) as usize)?;
        let source = CString::new(PTX).unwrap_or_default();
        let name = CString::new("stepscope_spin").unwrap_or_default();
        // SAFETY: NUL-terminated PTX, in a context that is current here; the module stays for as long as the process.
        let kernel = unsafe { result::module::get_function(result::module::load_data(source.as_ptr().cast())?, name)? };
        let streams = (0..arguments.streams).map(|_| context.new_stream()).collect::<Result<_, _>>()?;
        let mut device =
            Self { streams, kernel, arguments: arguments.clone(), replayed: None, pending: VecDeque::new() };
        // What is loaded at the first launch is loaded now.
        device.run(0)?;
        device.finish()?;
        Ok(device)
    }

    /// The stream that an iteration begins and ends on.
    pub(crate) fn stream(&self) -> *mut c_void {
        self.streams[0].cu_stream().cast()
    }

    /// Launches an iteration's kernels, and waits for the one that lies `ahead` iterations back.
    ///
    /// # Errors
    /// What the driver answered.
    pub(crate) fn run(&mut self, iteration: u64) -> Result<(), DriverError> {
        let main = self.streams[0].clone();
        let mut graph = None;
        if self.arguments.graph {
            graph = self.captured(iteration)?;
        } else if self.arguments.replay && self.replayed.is_none() {
            self.replayed = self.captured(iteration)?;
        }
        match graph.as_ref().or(self.replayed.as_ref()) {
            Some(graph) => graph.launch()?,
            None => self.launch(iteration)?,
        }
        self.pending.push_back((main.record_event(None)?, graph));
        while self.pending.len() > self.arguments.ahead
            && let Some((end, _graph)) = self.pending.pop_front()
        {
            end.synchronize()?;
        }
        Ok(())
    }

    /// An iteration's kernels as a graph.
    fn captured(&self, iteration: u64) -> Result<Option<CudaGraph>, DriverError> {
        self.streams[0].begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let launched = self.launch(iteration);
        let graph = self.streams[0].end_capture(CUgraphInstantiate_flags(0))?;
        launched.map(|()| graph)
    }

    /// Waits for everything.
    ///
    /// # Errors
    /// What the driver answered.
    pub(crate) fn finish(&mut self) -> Result<(), DriverError> {
        while let Some((end, _graph)) = self.pending.pop_front() {
            end.synchronize()?;
        }
        Ok(())
    }

    fn launch(&self, iteration: u64) -> Result<(), DriverError> {
        let (main, others) = (&self.streams[0], &self.streams[1..]);
        for other in others {
            other.join(main)?;
        }
        let mut nanoseconds = self.arguments.kernel_us * 1000;
        let block = 1 + (iteration % SHAPES) as u32;
        for place in 0..self.arguments.launches {
            let stream = &self.streams[place as usize % self.streams.len()];
            let mut parameters = [(&raw mut nanoseconds).cast::<c_void>()];
            // SAFETY: the kernel takes one 64-bit number, which the driver copies before the call returns.
            unsafe {
                result::launch_kernel(
                    self.kernel,
                    (1 + place, 1, 1),
                    (block, 1, 1),
                    0,
                    stream.cu_stream(),
                    &mut parameters,
                )?;
            }
        }
        for other in others {
            main.join(other)?;
        }
        Ok(())
    }
}
