"""train: one trial. Writes the Keras file, its predictions of the held-out rows and, without a search, its ONNX export.

Only this step imports TensorFlow, and `select` where it exports the winner of a search: every later step works from
their files.
"""

from tidegate.models.errors import MemberLostError, OptionsError, UserCodeError, UserModelError
from tidegate.pipelines.errors import error_message
from tidegate.pipelines.experiment.dotted import with_values
from tidegate.pipelines.step_types.train import Trained, TrainInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.project import at_home
from tidegate.pipelines.steps.trials.trial import Trial
from tidegate.pipelines.steps.trials.trial_log import TrialLog, absent_tags, version_tags


def run(inputs: TrainInputs, context: StepContext) -> Trained:
    """Train one trial.

    Raises:
        ModelsError: requested GPUs are missing, an option is wrong, the user's model fails, the loss is NaN.
    """
    params = inputs.params
    chosen = with_values({"model": inputs.model, "training": inputs.training}, params)
    content = with_values(inputs.content, params)
    tags = inputs.tags | version_tags(inputs.versions) | absent_tags(inputs.search, params)
    log = TrialLog(context, inputs.run, inputs.name, inputs.index, content, tags)
    log.starting(chosen["training"]["backend"])
    try:
        trial = Trial(inputs, context, chosen["model"], chosen["training"], log)
        return trial.run(params)
    except (UserModelError, UserCodeError, OptionsError) as error:
        message = at_home(str(error), inputs.code, context.work)
        log.failed(message)
        raise type(error)(message) from error
    except MemberLostError:
        raise  # all processes restart, and the trial resumes
    except Exception as error:
        log.failed(error_message(error))
        raise


def run_follower(inputs: TrainInputs, context: StepContext) -> None:
    """Train the same trial as the first process of the group, which alone reports and saves it.

    Raises:
        ModelsError: see `run`.
    """
    chosen = with_values({"model": inputs.model, "training": inputs.training}, inputs.params)
    Trial(inputs, context, chosen["model"], chosen["training"], None).run_follower()
