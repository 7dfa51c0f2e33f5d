"""Scorers of the benchmarks: judged win rates (`alpaca_eval`, `arena_hard`, `mt_bench`, `mixeval`) and ground truth.

The figures of each judged benchmark are pure functions, checked against published numbers; the Inspect scorer around
them asks the judge and keeps its replies. Import from the modules; nothing is loaded here.
"""
