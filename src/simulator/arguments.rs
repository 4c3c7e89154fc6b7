//! The simulated engine's command line, read by hand: the example is built without the sidecar's dependencies.

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Ranks of each group.
    pub ranks: u32,
    /// Groups that step apart from each other.
    pub groups: u32,
    /// Iterations to make; 0: until ended.
    pub iterations: u64,
    /// Length of a step, microseconds.
    pub step_us: u64,
    /// Stay alive but make no further iteration after this many; 0: never.
    pub idle_after: u64,
    /// Job name; empty: `STEPSCOPE_JOB`, else a random one.
    pub job: String,
    /// The iteration that hangs; 0: none.
    pub hang_at: u64,
    /// How long it hangs, milliseconds.
    pub hang_ms: u64,
    /// Make iterations only as told on standard input: a line with a number makes that many.
    pub paced: bool,
    /// The scheduler tells of its requests: it joins as a process that runs no iterations.
    pub requests: bool,
    /// Set in a rank's process: which one.
    pub worker: Option<(u32, u32)>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            ranks: 2,
            groups: 1,
            iterations: 1000,
            step_us: 1000,
            idle_after: 0,
            job: String::new(),
            hang_at: 0,
            hang_ms: 60_000,
            paced: false,
            requests: false,
            worker: None,
        }
    }
}

/// What `--help` prints.
pub const HELP: &str = "\
A simulated engine: continuous batching, each rank a process that joins through the agent.

  --ranks N          ranks of each group [2]
  --groups N         groups that step apart from each other [1]
  --iterations N     iterations to make; 0: until ended [1000]
  --step-us N        length of a step, microseconds [1000]
  --idle-after N     stay alive but make no further iteration after N [0: never]
  --job NAME         job name [STEPSCOPE_JOB, else a random one]
  --hang-at N        iteration N hangs [0: none]
  --hang-ms N        for how long [60000]
  --requests         tell of requests: the scheduler joins too, as a process that runs no iterations
  --paced            make iterations only as told on standard input: a line with a number makes that many

Ends when its iterations are made, on SIGINT or SIGTERM, and when standard input is closed with --paced.
";

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence that names the argument; [`HELP`] for `--help`.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut arguments = arguments.into_iter();
        let (mut group, mut rank) = (None, None);
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                return Err(HELP.into());
            }
            let flag = match name.as_str() {
                "--paced" => Some(&mut parsed.paced),
                "--requests" => Some(&mut parsed.requests),
                _ => None,
            };
            if let Some(flag) = flag {
                *flag = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value; see --help"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} {value:?} is not a whole number"));
            let small = || value.parse::<u32>().map_err(|_| format!("{name} {value:?} is not a whole number"));
            match name.as_str() {
                "--ranks" => parsed.ranks = small()?,
                "--groups" => parsed.groups = small()?,
                "--iterations" => parsed.iterations = number()?,
                "--step-us" => parsed.step_us = number()?,
                "--idle-after" => parsed.idle_after = number()?,
                "--hang-at" => parsed.hang_at = number()?,
                "--hang-ms" => parsed.hang_ms = number()?,
                "--worker-group" => group = Some(small()?),
                "--worker-rank" => rank = Some(small()?),
                "--job" => parsed.job = value,
                _ => return Err(format!("unknown argument {name}; see --help")),
            }
        }
        if !(1..=64).contains(&parsed.ranks) || !(1..=64).contains(&parsed.groups) {
            return Err("--ranks and --groups take 1 to 64".into());
        }
        parsed.worker = group.zip(rank);
        Ok(parsed)
    }

    /// The command line of one rank's process.
    pub fn for_worker(&self, group: u32, rank: u32) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        for (name, value) in [
            ("--ranks", self.ranks.to_string()),
            ("--groups", self.groups.to_string()),
            ("--step-us", self.step_us.to_string()),
            ("--hang-at", self.hang_at.to_string()),
            ("--hang-ms", self.hang_ms.to_string()),
            ("--job", self.job.clone()),
            ("--worker-group", group.to_string()),
            ("--worker-rank", rank.to_string()),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }
}
