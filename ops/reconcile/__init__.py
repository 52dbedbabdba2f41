"""Whether a provider's list and our tables tell of the same money."""

from ops.reconcile.comparison import Difference as Difference
from ops.reconcile.reconciliation import Reconciled as Reconciled
from ops.reconcile.reconciliation import reconcile as reconcile
