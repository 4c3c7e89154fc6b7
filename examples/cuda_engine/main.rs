//! An engine on a GPU, attached through the Rust API: what tests/gpu/run.sh captures. See `--help`.
#![allow(unsafe_code, reason = "the CUDA driver")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]

mod arguments;
mod device;
mod ranks;

use std::ffi::c_void;
use std::io::BufRead;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use cudarc::driver::{DriverError, sys};
use stepscope::agent::api::{self, Batch, Rank, Step};

use arguments::Arguments;
use device::Device;

/// As tests have it that lack what they need.
const CANNOT: u8 = 77;

/// Standard input was closed, or there is nobody left to work.
static ENDED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    // SAFETY: loads the driver's library, which is made for any process. cudarc panics where it is missing.
    if !unsafe { sys::is_culib_present() } {
        eprintln!("cuda_engine: there is no CUDA driver: libcuda.so.1 can't be loaded");
        return ExitCode::from(CANNOT);
    }
    if arguments.ranks > 1 {
        return ranks::run(arguments.ranks, || println!("ready"));
    }
    let made = if arguments.without_context { apart(&arguments) } else { together(&arguments) };
    match made {
        Ok((iterations, took)) => {
            println!("made {iterations} iterations in {:.3} s", took.as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cuda_engine: the driver answered {:?}", error.0);
            ExitCode::from(if no_device(&error) { CANNOT } else { 1 })
        }
    }
}

/// There is nothing to run on: not a fault of ours.
fn no_device(error: &DriverError) -> bool {
    use sys::CUresult as R;
    [R::CUDA_ERROR_NO_DEVICE, R::CUDA_ERROR_STUB_LIBRARY, R::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH].contains(&error.0)
}

/// One thread steps and works.
fn together(arguments: &Arguments) -> Result<(u64, Duration), DriverError> {
    let mut device = Device::new(arguments)?;
    let stream = device.stream();
    let orders = ready(arguments);
    let made = step_on(arguments, &orders, |step, iteration| {
        tell(step, stream, arguments);
        device.run(iteration)
    })?;
    device.finish()?;
    Ok(made)
}

/// One thread steps, another one has the context and works.
fn apart(arguments: &Arguments) -> Result<(u64, Duration), DriverError> {
    std::thread::scope(|scope| {
        let (orders, ordered) = mpsc::sync_channel::<u64>(0);
        let (answers, answered) = mpsc::sync_channel::<Result<(), DriverError>>(1);
        scope.spawn(move || {
            let mut device = match Device::new(arguments) {
                Ok(device) => device,
                Err(error) => return answers.send(Err(error)).unwrap_or_default(),
            };
            let _ = answers.send(Ok(()));
            while let Ok(iteration) = ordered.recv() {
                if answers.send(device.run(iteration)).is_err() {
                    break;
                }
            }
            let _ = device.finish();
        });
        answered.recv().unwrap_or(Ok(()))?;
        let asked = ready(arguments);
        let made = step_on(arguments, &asked, |step, iteration| {
            if step.is_recorded() {
                step.batch(batch(arguments));
            }
            // A worker that is gone gives no answer: the engine ends.
            ENDED.fetch_or(orders.send(iteration).is_err(), Ordering::Relaxed);
            answered.recv().unwrap_or(Ok(()))
        });
        drop(orders);
        made
    })
}

/// Joins, and says that it can step. Gives the iterations that standard input asks for, line by line.
fn ready(arguments: &Arguments) -> Receiver<u64> {
    let joined = api::join(&Rank {
        rank: arguments.rank,
        world_size: arguments.world_size,
        engine: concat!("cuda_engine ", env!("CARGO_PKG_VERSION")).into(),
        ..Rank::default()
    });
    if let Err(error) = joined {
        // An engine runs on without its profiler.
        eprintln!("rank {}: {error}", arguments.rank);
    }
    println!("ready");
    let (asked, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = asked.send(line.trim().parse().unwrap_or(0));
        }
        ENDED.store(true, Ordering::Relaxed);
    });
    orders
}

/// Makes iterations until there are enough, or standard input is closed.
fn step_on(
    arguments: &Arguments,
    orders: &Receiver<u64>,
    mut work: impl FnMut(&Step, u64) -> Result<(), DriverError>,
) -> Result<(u64, Duration), DriverError> {
    let began = Instant::now();
    let mut made = 0;
    let mut iteration = || {
        made += 1;
        let step = api::step();
        work(&step, made)
    };
    if arguments.paced {
        while let Ok(count) = orders.recv() {
            (0..count).try_for_each(|_| iteration())?;
            println!("{count}");
        }
    } else {
        let most = if arguments.iterations == 0 { u64::MAX } else { arguments.iterations };
        (0..most).take_while(|_| !ENDED.load(Ordering::Relaxed)).try_for_each(|_| iteration())?;
    }
    Ok((made, began.elapsed()))
}

fn tell(step: &Step, stream: *mut c_void, arguments: &Arguments) {
    if step.is_recorded() {
        step.batch(batch(arguments));
        // Last, so that nothing of ours lies between it and the work.
        // SAFETY: a stream of the context that is current here, alive as long as the device is.
        unsafe { step.stream(stream) };
    }
}

fn batch(arguments: &Arguments) -> Batch {
    Batch { generation_requests: arguments.launches, generation_tokens: arguments.launches, ..Batch::default() }
}
