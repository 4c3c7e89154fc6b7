"""The package with and without an agent: never an exception, one agent per process."""

import os
import shutil
import unittest

import support

EVERYTHING = """
    import stepscope
    codes = [stepscope.join(rank=0, world_size=1, label="x") < 0]
    with stepscope.step as iteration:
        codes.append(iteration)
        stepscope.batch(1, 2, 3, 4)
    stepscope.leave()
    print(stepscope.available(), codes, bool(stepscope.reason()), stepscope.describe()["available"])
    print(stepscope.reason())
"""


class Without(support.Case):
    def test_a_missing_library_makes_every_call_do_nothing_and_says_why(self):
        out = self.python(EVERYTHING, recorder=False, STEPSCOPE_LIBRARY="/nowhere/libstepscope.so.1")
        self.assertEqual(out[0], "False [True, 0] True False")
        self.assertIn("/nowhere/libstepscope.so.1", out[1])

    def test_a_library_that_is_no_agent_is_refused_with_a_reason(self):
        out = self.python(EVERYTHING, recorder=False, STEPSCOPE_LIBRARY="libm.so.6")
        self.assertEqual(out[0], "False [True, 0] True False")
        self.assertIn("stepscope_get_api", out[1])

    def test_a_library_of_another_interface_version_is_refused_with_a_reason(self):
        out = self.python(EVERYTHING, STEPSCOPE_RECORDER_ABI="2")
        self.assertEqual(out[0], "False [True, 0] True False")
        self.assertIn("interface version 1", out[1])
        self.assertEqual(self.calls(), [])

    def test_a_native_module_that_can_not_be_loaded_is_a_reason_too(self):
        out = self.python("import sys; sys.modules['stepscope._stepscope'] = None" + "\n" + _dedented(EVERYTHING))
        self.assertEqual(out[0], "False [True, 0] True False")
        self.assertIn("native module", out[1])

    def test_an_agent_that_is_switched_off_says_so(self):
        out = self.python(EVERYTHING, recorder=False, STEPSCOPE_AGENT="off")
        self.assertEqual(out[0], "True [True, 0] True True")

    def test_importing_the_package_loads_neither_the_module_nor_the_agent(self):
        out = self.python("""
            import sys, stepscope, stepscope.vllm
            stepscope.vllm.register()
            print("stepscope._stepscope" in sys.modules, "libstepscope" in open("/proc/self/maps").read())
        """)
        self.assertEqual(out, ["False False"])


class WithTheRealOne(support.Case):
    def test_join_makes_one_segment_and_says_who_we_are(self):
        out = self.python(
            """
            import os, stepscope
            print(stepscope.join(rank=3, world_size=4, job="j", group="g", engine="toy 1", label="l"))
            print(stepscope.join(rank=0, world_size=4))
            said = stepscope.describe()
            print(*(said[name] for name in ("available", "joined", "rank", "world_size", "job", "group", "engine")))
            print([name.endswith(".seg") for name in os.listdir(os.environ["STEPSCOPE_DIR"])])
            print(said["library"].endswith("stepscope/_lib/libstepscope.so.1"), repr(said["reason"]))
            """,
            recorder=False,
        )
        self.assertEqual(out, ["0", "1", "True True 3 4 j g toy 1", "[True]", "True ''"])

    def test_two_loads_by_different_paths_are_one_agent(self):
        copy = os.path.join(self.folder, "elsewhere.so")
        out = self.python(
            f"""
            import ctypes, os, stepscope, shutil
            from stepscope import _agent
            packaged = _agent.PACKAGED_LIBRARY
            shutil.copy(packaged, {copy!r})
            import sys
            print(stepscope.available(), os.path.samefile(stepscope.describe()["library"], packaged))
            """,
            recorder=False,
        )
        self.assertEqual(out, ["True True"])
        # The other way round: somebody loads a copy first, by another path; the package uses that one.
        out = self.python(
            f"""
            import ctypes, os
            first = ctypes.CDLL({copy!r})
            import stepscope
            stepscope.join(rank=0, world_size=1)
            loaded = {{line.split()[-1] for line in open("/proc/self/maps") if "stepscope" in line and "_stepscope." not in line
                      and line.rstrip().endswith((".so", ".so.1"))}}
            print(os.path.samefile(stepscope.describe()["library"], {copy!r}), sorted(loaded) == [{copy!r}])
            """,
            recorder=False,
        )
        self.assertEqual(out, ["True True"])

    def test_the_command_of_the_wheel_is_the_program_itself(self):
        command = shutil.which("stepscope", path=os.path.dirname(os.sys.executable))
        self.assertIsNotNone(command)
        with open(command, "rb") as file:
            self.assertEqual(file.read(4), b"\x7fELF")


class Steps(support.Case):
    def test_a_context_manager_step_is_begun_described_and_ended(self):
        out = self.python("""
            import stepscope
            stepscope.join(rank=1, world_size=2, job="j")
            with stepscope.step as iteration:
                stepscope.batch(1, 512, 30, 31, dummy=True)
            print(iteration)
            try:
                with stepscope.step:
                    raise KeyError("mine")
            except KeyError as error:
                print(error)
        """)
        self.assertEqual(out, ["1", "'mine'"])
        self.assertEqual(
            self.calls()[-8:],
            [
                "join role=1 rank=1 world=2 job=j group=- engine=- label=- flags=0",
                "join role=1 rank=0 world=0 job=- group=- engine=- label=- flags=0",
                "claim python",
                "begin 1",
                "batch 1 512 30 31 1",
                "end",
                "begin 2",
                "end",
            ],
        )

    def test_counts_that_are_no_counts_never_raise(self):
        self.python("""
            import stepscope
            with stepscope.step:
                stepscope.batch(-1, 2**40, None, "x")
        """)
        self.assertIn("batch 0 4294967295 0 0 0", self.calls())

    def test_a_second_source_of_steps_is_seen_no_steps_of(self):
        self.python("""
            import stepscope
            from stepscope import _wrap
            with stepscope.step: pass
            other = _wrap.Source("other")
            _wrap.wrap(lambda: None, other)()
            print(other.state)
        """)
        self.assertEqual([line for line in self.calls() if line.startswith(("begin", "claim"))],
                         ["claim python", "begin 1", "claim other"])

    def test_an_unknown_role_is_an_error_at_once(self):
        self.python("""
            import stepscope
            try: stepscope.join("conductor")
            except ValueError as error: assert "conductor" in str(error)
            else: raise SystemExit("no error")
        """)


def _dedented(code):
    import textwrap

    return textwrap.dedent(code)


if __name__ == "__main__":
    unittest.main()
