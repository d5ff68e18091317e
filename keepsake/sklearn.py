"""Recording a search of scikit-learn, under a short name."""

from keepsake.integrations.sklearn import record

__all__ = ["record"]
