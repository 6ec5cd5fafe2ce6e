"""The frozen records that the rooms hand to each other.

Facts of the world that may be out of reach are `Known` or `Unknown`, never ``None``: an `Unknown` says why.
"""

from archfit.model.answers import Diagnosis, Fact, Finding, Outcome, Severity, State, Status
from archfit.model.change import History, LockedPackage, StateRecord
from archfit.model.code import CodeKind, CodeObject, Compiler, CompilerKind, Container, Coverage, FileFormat, Library
from archfit.model.facts import Known, Text, Unknown, Values
from archfit.model.host import Host, Place, PlaceKind, Storage
from archfit.model.logs import Cause, Culprit, Explanation, LogFacts, Quote
from archfit.model.machine import (
    CacheEntry,
    CacheKind,
    Distribution,
    Driver,
    DriverRelease,
    Environment,
    Gpu,
    GpuState,
    Interpreter,
    Shadow,
    Surroundings,
)
from archfit.model.plans import (
    Option,
    OptionKind,
    Pin,
    Plan,
    Question,
    Rejected,
    Requires,
    Resolution,
    ResolutionState,
    Step,
    TorchBuild,
    Unsolved,
)
from archfit.model.proof import Evidence, Proof, Verification
from archfit.model.subject import Subject, SubjectKind

__all__ = [
    "CacheEntry",
    "CacheKind",
    "Cause",
    "CodeKind",
    "CodeObject",
    "Compiler",
    "CompilerKind",
    "Container",
    "Coverage",
    "Culprit",
    "Diagnosis",
    "Distribution",
    "Driver",
    "DriverRelease",
    "Environment",
    "Evidence",
    "Explanation",
    "Fact",
    "FileFormat",
    "Finding",
    "Gpu",
    "GpuState",
    "History",
    "Host",
    "Interpreter",
    "Known",
    "Library",
    "LockedPackage",
    "LogFacts",
    "Option",
    "OptionKind",
    "Outcome",
    "Pin",
    "Place",
    "PlaceKind",
    "Plan",
    "Proof",
    "Question",
    "Quote",
    "Rejected",
    "Requires",
    "Resolution",
    "ResolutionState",
    "Severity",
    "Shadow",
    "State",
    "StateRecord",
    "Status",
    "Step",
    "Storage",
    "Subject",
    "SubjectKind",
    "Surroundings",
    "Text",
    "TorchBuild",
    "Unknown",
    "Unsolved",
    "Values",
    "Verification",
]
