"""Whether everything that must hold does hold: in the tables, and in what the read models show."""

from ops.verify.verification import examine as examine
from ops.verify.verification import verify as verify
from ops.verify.violations import Examination as Examination
from ops.verify.violations import Violation as Violation
