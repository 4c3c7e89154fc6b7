//! What an agent says it can do: one word, two bits for each question, so that it can say that it does not know.

/// A question with three answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u64)]
pub enum Answer {
    /// Nobody looked, or it can't be told.
    #[default]
    Unknown = 0,
    /// No.
    No = 1,
    /// Yes.
    Yes = 2,
}

/// What is asked. The number is the position in the word, in pairs of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Question {
    /// The CUDA driver's library can be loaded.
    CudaLibrary = 0,
    /// It has the profiler's symbols.
    CudaSymbols = 1,
    /// The driver is initialised: cuInit answered 0.
    CudaInitialized = 2,
    /// A context was current on the engine's thread when it was last looked at.
    CudaContext = 3,
    /// A tool listens to NVTX in this process.
    NvtxTool = 4,
    /// The process was started by nsys.
    Nsys = 5,
    /// The process was started by ncu.
    Ncu = 6,
    /// Iterations come from NVTX ranges of the engine's own.
    NvtxSteps = 7,
}

/// The answer that stands in the word.
pub const fn get(word: u64, question: Question) -> Answer {
    match word >> (question as u64 * 2) & 3 {
        1 => Answer::No,
        2 => Answer::Yes,
        _ => Answer::Unknown,
    }
}

/// The word with one answer changed.
pub const fn with(word: u64, question: Question, answer: Answer) -> u64 {
    let shift = question as u64 * 2;
    word & !(3 << shift) | (answer as u64) << shift
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_do_not_touch_each_other() {
        let word = with(with(0, Question::CudaContext, Answer::No), Question::Ncu, Answer::Yes);
        assert_eq!(get(word, Question::CudaContext), Answer::No);
        assert_eq!(get(word, Question::Ncu), Answer::Yes);
        assert_eq!(get(word, Question::Nsys), Answer::Unknown);
        assert_eq!(get(with(word, Question::Ncu, Answer::Unknown), Question::Ncu), Answer::Unknown);
    }
}
