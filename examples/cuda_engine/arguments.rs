//! The command line, read by hand.

/// What can be set.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) ranks: u32,
    pub(crate) rank: u32,
    pub(crate) world_size: u32,
    pub(crate) iterations: u64,
    pub(crate) kernel_us: u64,
    pub(crate) launches: u32,
    pub(crate) streams: u32,
    pub(crate) ahead: usize,
    pub(crate) paced: bool,
    pub(crate) graph: bool,
    pub(crate) replay: bool,
    pub(crate) without_context: bool,
}

/// What `--help` prints.
pub(crate) const HELP: &str = "\
An engine on a GPU: each iteration launches kernels named stepscope_spin of a known length, through the CUDA driver.
Block x of a kernel is 1 + (its iteration modulo 1000), grid x is 1 + its place in the iteration.

  --ranks N           ranks, each a process of its own, in lockstep if there are several [1]; rank R takes device R modulo
                      the number of devices
  --iterations N      iterations to make; 0: until standard input is closed [0]
  --kernel-us N       length of a kernel, microseconds [500]
  --launches N        kernels of an iteration [4]
  --streams N         streams they go round; the first one waits for the others [1]
  --ahead N           iterations that the host runs ahead of the device; 0: it waits for each [0]
  --paced             make iterations only as told on standard input: a line with a number makes that many, and is answered
  --graph             launch an iteration's kernels as one CUDA graph, made in the iteration
  --replay            the same with one graph for all iterations, made at the start: its kernels are all of iteration 0
  --without-context   the thread that steps has no CUDA context: another one does the work

Says `ready` when it can step and `made N iterations` at its end. Exit code 77: there is no CUDA driver or no device.
";

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence that names the argument; [`HELP`] for `--help`.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            ranks: 1,
            rank: 0,
            world_size: 1,
            iterations: 0,
            kernel_us: 500,
            launches: 4,
            streams: 1,
            ahead: 0,
            paced: false,
            graph: false,
            replay: false,
            without_context: false,
        };
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" | "-h" => return Err(HELP.into()),
                "--paced" => {
                    parsed.paced = true;
                    continue;
                }
                "--graph" => {
                    parsed.graph = true;
                    continue;
                }
                "--replay" => {
                    parsed.replay = true;
                    continue;
                }
                "--without-context" => {
                    parsed.without_context = true;
                    continue;
                }
                _ => {}
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value; see --help"))?;
            let number = || value.parse::<u32>().map_err(|_| format!("{name} {value:?} is not a whole number"));
            match name.as_str() {
                "--ranks" => parsed.ranks = number()?,
                // Of a rank's process.
                "--rank" => parsed.rank = number()?,
                "--world-size" => parsed.world_size = number()?,
                "--iterations" => parsed.iterations = number()?.into(),
                "--kernel-us" => parsed.kernel_us = number()?.into(),
                "--launches" => parsed.launches = number()?,
                "--streams" => parsed.streams = number()?,
                "--ahead" => parsed.ahead = number()? as usize,
                _ => return Err(format!("unknown argument {name}; see --help")),
            }
        }
        let (small, large) = (1..=64, 1..=1024);
        if !small.contains(&parsed.ranks) || !small.contains(&parsed.streams) || !large.contains(&parsed.launches) {
            return Err("--ranks and --streams take 1 to 64, --launches 1 to 1024".into());
        }
        Ok(parsed)
    }
}
