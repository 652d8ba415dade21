"""Adapts weights to another window, size or set of classes: the Python of the verb `muntin adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from muntin.catalog import as_size, build_config
from muntin.data import inputs_from
from muntin.errors import UserError
from muntin.ops.windows import Size
from muntin.tasks import Classifier
from muntin.weights.class_map import read_class_map
from muntin.weights.create import create_model
from muntin.weights.fit import select_classes, zero_head
from muntin.weights.load import load_weights
from muntin.weights.load_report import LoadReport
from muntin.weights.rewrite import (
    Described,
    check_all_known,
    check_free,
    described,
    inputs_for,
    make_folder,
    note_on_names,
    note_on_pixels,
    numbered,
    read_source,
    save,
)


def adapt(
    source: str | Path,
    out: str | Path,
    *,
    window: int | Size | None = None,
    image_size: int | Size | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    class_map: str | Path | None = None,
    rule: Literal["auto", "bicubic", "geometric"] = "auto",
    freeze_bias: bool = False,
    model: str = "",
    overwrite: bool = False,
) -> LoadReport:
    """Write the classifier at `source` to the model folder `out`, adapted to something other than its training.

    window: tokens, side or height and width; bias tables are resized by `rule` ("auto": geometric for SimMIM's files,
    bicubic for others), a log-CPB keeps the scale it was trained on. image_size: pixels, of its inputs, and of an
    absolute embedding if it has one. num_classes: a head of zeros, to be trained. class_map: file with the rows of the
    old head that the new classes take. in_chans: input channels. freeze_bias: the log-CPB as a plain table. model: as
    in `convert`. Returns what became of every tensor. Raises UserError with nothing written.
    """
    source, out = Path(source), Path(out)
    if (window, image_size, num_classes, in_chans, class_map, freeze_bias) == (None, None, None, None, None, False):
        raise UserError("nothing to adapt: give a window, an image size, classes, input channels or the frozen bias")
    check_free(out, overwrite, folder=True)
    path, known = read_source(source, model)
    check_all_known(path, known)
    rows = read_class_map(class_map) if class_map is not None else None
    if rows is not None and num_classes not in (None, len(rows)):
        raise UserError(f"{class_map} lists {len(rows)} classes, and num_classes is {num_classes}; give one of them")
    if not known.told.num_classes and not num_classes:
        raise UserError(f"{path} has no classes (it is a {known.told.kind}); give num_classes")

    family, beside = known.told.family, described(known)
    inputs = inputs_from(beside.inputs) if beside.inputs else None
    trained_size = inputs.image_size if inputs else known.image_size
    size = as_size(image_size, 2) if image_size is not None else trained_size
    config = build_config(known.named.name, known.named.changes)
    changes = dict(known.named.changes)
    changes |= {"window": window} if window is not None else {}
    changes |= {"in_chans": in_chans} if in_chans is not None else {}
    changes |= family.for_pictures(config, size)

    classes = known.told.num_classes or num_classes or 0
    adapted = create_model(known.named.name, num_classes=classes, **changes)
    headless = not known.told.num_classes
    assumed = family.trained(config, trained_size)
    report = load_weights(adapted, path, replace_head=headless, resize=rule, assumed=assumed)
    adapted, names, report = _with_classes(adapted, beside.classes, num_classes, rows, headless, report)
    if freeze_bias:
        if family.freeze_bias is None:
            raise UserError(
                f"{path} is a {family.title}, which has no continuous position bias to freeze; leave freeze_bias out"
            )
        family.freeze_bias(adapted.backbone, trained_size)
        report = report._replace(notes=(*report.notes, "the position bias is frozen into tables"))

    values, notes = inputs_for(in_chans or config.in_chans, size, beside.inputs)
    if beside.notes:  # on what the file did not tell: said of what has become of it
        notes = (notes or (note_on_pixels(values),)) + note_on_names(names)
    new_beside = Described(names, values, notes)
    make_folder(out, lambda new: save(new, known.named.name, adapted, "classifier", new_beside))
    return report._replace(notes=(*report.notes, *notes))


def _with_classes(
    model: Classifier,
    names: tuple[str, ...],
    num_classes: int | None,
    rows: tuple[int, ...] | None,
    headless: bool,
    report: LoadReport,
) -> tuple[Classifier, tuple[str, ...], LoadReport]:
    """The model with its new head, the names of its classes, and the report with what became of the head."""
    old = model.num_classes
    if rows is not None:
        state, why = select_classes(model.state_dict(), rows), f"{len(rows)} of {old} classes, by the given list"
        names = tuple(names[row] for row in rows)
    elif num_classes is not None and (headless or num_classes != old):
        state, why = zero_head(model.state_dict(), num_classes), f"a head of zeros for {num_classes} classes"
        names = numbered(num_classes)
    else:
        return model, names, report
    model.reset_classifier(len(names))
    model.load_state_dict(state)
    heads = {key: why for key in state if key.startswith("readout.head")}
    fate = "resized" if rows is not None else "reinitialised"
    taken = {key: reason for key, reason in report.taken.items() if key not in heads}
    return model, names, report._replace(taken=taken, **{fate: getattr(report, fate) | heads})
