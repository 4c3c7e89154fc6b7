"""STEPSCOPE_STEP on an engine whose code knows nothing of it."""

import unittest

import support

STEP = ["begin 1", "end"]


class Hook(support.Case):
    def steps(self):
        return [line for line in self.calls() if line.split()[0] in ("begin", "end")]

    def test_a_method_is_a_step_and_joins_as_the_environment_says(self):
        out = self.python(
            """
            import toy_engine
            engine = toy_engine.Engine()
            print(engine.step(work=4), engine.step(2), toy_engine.Engine.step.__name__, toy_engine.seen)
            """,
            STEPSCOPE_STEP="toy_engine:Engine.step",
            RANK="2",
            WORLD_SIZE="4",
            STEPSCOPE_GROUP="left",
        )
        self.assertEqual(out, ["8 4 step [4, 2]"])
        self.assertEqual(
            self.calls(),
            [
                "join role=1 rank=2 world=4 job=- group=left engine=toy_engine 7.1 label=- flags=1",
                "claim hook toy_engine:Engine.step",
                "begin 1",
                "end",
                "begin 2",
                "end",
            ],
        )

    def test_a_process_that_never_steps_never_joins(self):
        self.python("import toy_engine", STEPSCOPE_STEP="toy_engine:Engine.step")
        self.assertEqual(self.calls(), [])

    def test_functions_static_class_and_self_only_methods(self):
        for target, call, expected in (
            ("step", "toy_engine.step(1)", "[2]"),
            ("Engine.still", "toy_engine.Engine().still(5), toy_engine.Engine.still(5)", "[5, 5]"),
            ("Engine.shared", "toy_engine.Child.shared(1)", "[('Child', 1)]"),
            ("Engine.alone", "toy_engine.Engine().alone()", "['alone']"),
            ("Engine.partial", "toy_engine.Engine().partial(), toy_engine.Engine.partial()", "[8, 8]"),
        ):
            with self.subTest(target):
                out = self.python(f"import toy_engine; print([{call}])", STEPSCOPE_STEP=f"toy_engine:{target}")
                self.assertEqual(out, [expected])
                self.assertEqual(self.steps()[:2], STEP)

    def test_a_module_that_two_threads_look_for_at_once_is_hooked(self):
        out = self.python("""
            import sys, threading
            from stepscope import _import_hook
            looks, may_go_on = threading.Event(), threading.Event()
            class Slow:
                def find_spec(self, name, path=None, target=None):
                    if name == "toy_engine" and threading.current_thread() is not threading.main_thread():
                        looks.set()
                        may_go_on.wait()
            loaded = []
            _import_hook.when_imported("toy_engine", loaded.append, print)
            sys.meta_path.insert(1, Slow())
            # As tools do that ask the finders themselves; the import system holds a lock around its own questions.
            other = threading.Thread(target=sys.meta_path[0].find_spec, args=("toy_engine",))
            other.start()
            looks.wait()
            import toy_engine
            may_go_on.set()
            other.join()
            print(loaded == [toy_engine])
        """)
        self.assertEqual(out, ["True"])

    def test_a_finder_that_asks_the_others_in_turn_does_not_go_round_in_circles(self):
        out = self.python("""
            import sys
            from stepscope import _import_hook
            class Asks:
                asking = False
                def find_spec(self, name, path=None, target=None):
                    if name != "toy_engine" or self.asking:
                        return None
                    self.asking = True
                    return next(filter(None, (f.find_spec(name, path, target) for f in sys.meta_path if f is not self)))
            loaded = []
            _import_hook.when_imported("toy_engine", loaded.append, print)
            sys.meta_path.insert(1, Asks())
            import toy_engine
            print(loaded == [toy_engine])
        """)
        self.assertEqual(out, ["True"])

    def test_parameters_of_every_kind_are_passed_on_and_errors_name_the_function(self):
        out = self.python("""
            import inspect
            from stepscope import _wrap
            source = _wrap.Source("test")
            def exact(a, b=2, /, c=3, *, d, e=5): return a, b, c, d, e
            def variadic(*args, **kwargs): return args, kwargs
            def awkward(_begin, _end=1): return _begin, _end
            made = {f: _wrap.wrap(f, source) for f in (exact, variadic, awkward)}
            for f, calls in (
                (exact, ["f(1, d=4)", "f(1, 9, c=8, d=7, e=6)", "f(1, 9, 8, d=0)", "f()", "f(a=1, d=2)", "f(1, 2, 3, 4)"]),
                (variadic, ["f()", "f(1, *'ab')", "f(x=1)", "f(1, function=2, _source=3)"]),
                (awkward, ["f(4)", "f(_end=5, _begin=6)"]),
            ):
                assert inspect.signature(f) == inspect.signature(made[f])
                for call in calls:
                    answers = []
                    for one in (f, made[f]):
                        try: answers.append(eval(call, {"f": one}))
                        except TypeError as error: answers.append(str(error).rpartition(".")[2])
                    assert answers[0] == answers[1], (call, answers)
            exact.__kwdefaults__["e"] = 6
            print(made[exact](1, d=4))
        """)
        self.assertEqual(out, ["(1, 2, 3, 4, 5)"])
        # A call that fits no parameters runs nothing, and is no step.
        self.assertEqual(self.steps(), [line for n in range(1, 11) for line in (f"begin {n}", "end")])

    def test_an_inherited_method_is_wrapped_for_the_named_class_alone(self):
        self.python(
            "import toy_engine; toy_engine.Engine().step(1); toy_engine.Child().step(1)",
            STEPSCOPE_STEP="toy_engine:Child.step",
        )
        self.assertEqual(self.steps(), STEP)

    def test_an_async_step_begins_when_awaited_and_ends_when_it_returns(self):
        out = self.python(
            """
            import asyncio, inspect, os, toy_engine
            def calls():
                path = os.environ["STEPSCOPE_RECORDER"] + "." + str(os.getpid())
                return open(path).read().split().count("begin") if os.path.exists(path) else 0
            async def main():
                pending = toy_engine.Engine().step_async(4)
                print(calls(), inspect.iscoroutinefunction(toy_engine.Engine.step_async))
                print(await pending, calls())
            asyncio.run(main())
            """,
            STEPSCOPE_STEP="toy_engine:Engine.step_async",
        )
        self.assertEqual(out, ["0 True", "12 1"])
        self.assertEqual(self.steps(), STEP)

    def test_exceptions_pass_unchanged_and_end_the_step(self):
        for target, call in (("step", "engine.step('fail')"), ("step_async", "asyncio.run(engine.step_async('fail'))")):
            with self.subTest(target):
                self.python(
                    f"""
                    import asyncio, toy_engine
                    engine = toy_engine.Engine()
                    try: {call}
                    except KeyError as error: assert error.args == ("fail",) and error.__cause__ is None
                    else: raise SystemExit("swallowed")
                    """,
                    STEPSCOPE_STEP=f"toy_engine:Engine.{target}",
                )
                self.assertEqual(self.steps(), STEP)

    def test_a_module_that_was_imported_before_is_patched_at_once(self):
        self.python("""
            import toy_engine
            from stepscope import step_hook
            step_hook.install("toy_engine:Engine.step")
            toy_engine.Engine().step(1)
        """)
        self.assertEqual(self.steps(), STEP)

    def test_what_can_not_be_hooked_is_said_once_and_the_engine_runs(self):
        for target, word in (
            ("toy_engine:Engine.missing", "missing"),
            ("toy_engine:number", "not a function"),
            ("toy_engine:Engine.stream", "generator"),
            ("toy_engine:Engine", "is a class"),
            ("toy_engine:made.step", "made is an object"),
            ("toy_engine", "expected module:function"),
        ):
            with self.subTest(target):
                out = self.python(
                    "import toy_engine; print(toy_engine.Engine().step(1), list(toy_engine.Engine().stream()))",
                    STEPSCOPE_STEP=target,
                )
                self.assertEqual(out, ["2 [1]"])
                self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)
                self.assertIn(word, self.stderr)
                self.assertEqual(self.calls(), [])

    def test_a_target_that_is_never_imported_costs_nothing_and_says_nothing(self):
        out = self.python("import json; print(1)", STEPSCOPE_STEP="no_such_engine:step")
        self.assertEqual((out, self.stderr), (["1"], ""))

    def test_the_module_looks_as_if_nobody_had_been_there(self):
        out = self.python(
            """
            import inspect, sys, toy_engine
            print(type(toy_engine.__loader__).__name__, type(toy_engine.__spec__.loader).__name__)
            print("def still" in inspect.getsource(toy_engine), [type(f).__name__ for f in sys.meta_path if "stepscope" in type(f).__module__])
            """,
            STEPSCOPE_STEP="toy_engine:Engine.step",
        )
        self.assertEqual(out, ["SourceFileLoader SourceFileLoader", "True []"])

    def test_an_interpreter_without_the_variable_imports_nothing_of_ours(self):
        out = self.python("import sys; print([name for name in sys.modules if name.startswith('stepscope')])")
        self.assertEqual(out, ["[]"])

    def test_an_engine_that_fails_to_import_fails_as_it_would(self):
        self.python(
            """
            import sys
            open("broken_engine.py", "w").write("raise OSError('mine')")
            sys.path.insert(0, "")
            try: import broken_engine
            except OSError as error: assert str(error) == "mine"
            """,
            STEPSCOPE_STEP="broken_engine:step",
        )
        self.assertEqual(self.stderr, "")


if __name__ == "__main__":
    unittest.main()
