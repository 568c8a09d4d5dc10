(** Softmax cross-entropy is differentiable, behind every differentiable network. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Terms Backward.
Open Scope R_scope.

Lemma sum_exp_pos C z : (1 <= C)%nat -> 0 < \sum_(a < C) exp (z a).
Proof.
  intros HC. apply Rlt_le_trans with (exp (z 0%nat)); [apply exp_pos|].
  apply (fsum_term C (fun a => exp (z a))); [intros; apply Rlt_le, exp_pos | lia].
Qed.

Theorem cross_entropy_is_log_softmax_holds : cross_entropy_is_log_softmax.
Proof.
  intros C z t HC. assert (HS := sum_exp_pos C z HC). unfold cross_entropy, softmax, Rdiv.
  rewrite log_mult, log_exp, log_inv; try assumption.
  - ring.
  - apply exp_pos.
  - now apply Rinv_0_lt_compat.
Qed.

(** One sample's loss of its outputs, which may depend on the whole batch. *)
Lemma one_cross_entropy n D C (z : nat -> batch -> R) (J : nat -> batch) t Y :
  (1 <= C)%nat -> (t < C)%nat ->
  (forall c, (c < C)%nat -> differentiable n D (z c) Y (J c)) ->
  differentiable n D (fun y => cross_entropy C (fun c => z c y) t) Y
    (fun j d => \sum_(c < C) (softmax C (fun a => z a Y) c - delta c t) * J c j d).
Proof.
  intros HC Ht HJ. unfold cross_entropy.
  assert (HS := sum_exp_pos C (fun a => z a Y) HC).
  apply (differentiable_ext n D (fun y => log (\sum_(a < C) exp (z a y)) + -1 * z t y)).
  { intros y. ring. }
  eapply differentiable_val; [|apply differentiable_plus].
  3: { apply differentiable_scal. now apply HJ. }
  2: { apply (differentiable_comp n D Y log (fun y => \sum_(a < C) exp (z a y))).
       - now apply is_derive_log.
       - apply differentiable_fsum. intros a Ha. apply (differentiable_comp n D Y exp).
         + apply is_derive_exp.
         + now apply HJ. }
  intros j d _ _. cbv beta.
  rewrite (fsum_ext C (fun c => (softmax C (fun a => z a Y) c - delta c t) * J c j d)
    (fun c => / (\sum_(a < C) exp (z a Y)) * (exp (z c Y) * J c j d)
              - J c j d * delta c t)) by (intros; unfold softmax, Rdiv; ring).
  rewrite fsum_minus, fsum_scal, fsum_delta by assumption. ring.
Qed.

Theorem cross_entropy_differentiable_holds : cross_entropy_differentiable.
Proof.
  intros n D C z J t Y HC Ht HJ.
  apply (differentiable_fsum n D Y n (fun i y => cross_entropy C (fun c => z i c y) (t i))
    (fun i j d => \sum_(c < C) (softmax C (fun a => z i a Y) c - delta c (t i)) * J i c j d)).
  intros i Hi. apply one_cross_entropy; auto.
Qed.

Lemma linear_head_differentiable n D W b i c Y : (i < n)%nat ->
  differentiable n D (fun y => linear_head D W b y i c) Y (fun j d => delta j i * W c d).
Proof.
  intros Hi. unfold linear_head.
  apply (differentiable_ext n D (fun y => (\sum_(d < D) W c d * y i d) - - b c)).
  { intros y. ring. }
  apply differentiable_minus_const.
  eapply differentiable_val; [|apply differentiable_fsum; intros d Hd;
    apply differentiable_scal, differentiable_entry; assumption].
  intros j d _ Hd. cbv beta. rewrite <- (pick_row D d (fun b => delta j i * W c b) Hd).
  apply fsum_ext; intros; ring.
Qed.

Theorem T4_softmax_head_holds : T4_softmax_head.
Proof.
  intros n D C eps gamma beta W b t x j k Hj Hk Hv HC Ht.
  set (z := fun i c y => linear_head D W b y i c).
  apply (T4_affine_holds n D eps gamma beta
    (fun y => \sum_(i < n) cross_entropy C (fun c => z i c y) (t i))); try assumption.
  eapply differentiable_val; [|apply (cross_entropy_differentiable_holds n D C z
    (fun i c j d => delta j i * W c d) t); try assumption;
    intros i c Hi _; now apply linear_head_differentiable].
  intros i d Hi _. cbv beta.
  rewrite <- (pick_row n i (fun i => \sum_(c < C)
    (softmax C (linear_head D W b (affine gamma beta (bn n eps x)) i) c - delta c (t i)) * W c d)
    Hi).
  apply fsum_ext; intros i' _. rewrite <- fsum_scal. apply fsum_ext; intros c _.
  unfold z. set (p := softmax C (linear_head D W b (affine gamma beta (bn n eps x)) i') c).
  change (softmax C _ c) with p. ring.
Qed.
